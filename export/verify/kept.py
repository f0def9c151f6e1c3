"""What was measured before, by the bytes that were checked and how: it is not measured again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgemem.prompting.prompts import load_prompts

from ..steps import write_text

VERSION = 1
"""Raise it whenever a check measures something else."""


@dataclass(frozen=True)
class How:
    """How the model is meant to be used: its prompt texts (folder, '' for ours) and its write policy."""

    prompts: str = ""
    policy: str = "edits"
    thresholds: Mapping[str, float] = field(default_factory=dict)


class Kept:
    """Results by what was checked and how, in a JSON file of the work folder."""

    def __init__(self, path: Path, how: How) -> None:
        self._path = path
        texts = {"prompts": load_prompts(how.prompts).digest, "policy": how.policy, "thresholds": dict(how.thresholds)}
        self._how = json.dumps({"version": VERSION, **texts}, sort_keys=True)

    def _key(self, kind: str, digest: str) -> str:
        return f"{kind}-{hashlib.sha256(f'{self._how} {digest}'.encode()).hexdigest()[:32]}"

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def get(self, kind: str, digest: str) -> Any:
        return self._read().get(self._key(kind, digest))

    def put(self, kind: str, digest: str, value: Any) -> None:
        content = {**self._read(), self._key(kind, digest): value}
        write_text(self._path, json.dumps(content))
