"""What suits this machine and model best, as the first-run self-test found it, and the file that keeps it.

The file is keyed by machine, model and version, and checked like any input: what is damaged or out of bounds counts as
missing, so that the test runs once more. Knows no model library.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgemem.kv_files import private_folder

FORMAT = 1
KV_TYPES = ("f16", "q8_0")
MOST_THREADS, MOST_BATCH = 1024, 4096


@dataclass(frozen=True, slots=True)
class Tuning:
    """The choice. `batch_costs` are seconds of a batch of so many tokens over seconds of one; `measured` are tokens per
    second, prefill and decode, of each way that was tried; `seconds` is what the test took."""

    threads: int
    flash_attention: bool = False
    kv_type: str = "f16"
    batch_tokens: int = 512
    batch_costs: Mapping[int, float] = field(default_factory=dict)
    measured: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seconds: float = 0.0


def tuning_path(folder: Path, *parts: object) -> Path:
    """The file for this machine, model, version and wishes (`parts`: everything the result depends on)."""
    key = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
    return folder / f"{key[:24]}.json"


def read_tuning(path: Path) -> Tuning | None:
    """What `write_tuning` wrote; None when it is missing, damaged or cannot be true."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    try:
        return _checked(data)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def write_tuning(path: Path, tuning: Tuning) -> None:
    """Replace the file at once (0600). A folder that cannot be written only means that the test runs again."""
    with suppress(OSError):
        private_folder(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tuning-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump({"format": FORMAT, **asdict(tuning)}, out, indent=1)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _checked(data: Any) -> Tuning:
    found = Tuning(
        threads=_whole(data["threads"], 1, MOST_THREADS),
        flash_attention=_true_or_false(data["flash_attention"]),
        kv_type=str(data["kv_type"]),
        batch_tokens=_whole(data["batch_tokens"], 32, MOST_BATCH),
        batch_costs={_whole(int(rows), 2, 64): _positive(cost) for rows, cost in data["batch_costs"].items()},
        measured={str(name): (_positive(a), _positive(b)) for name, (a, b) in data["measured"].items()},
        seconds=_positive(data["seconds"]),
    )
    if (
        data["format"] != FORMAT
        or found.kv_type not in KV_TYPES
        or (found.kv_type != "f16" and not found.flash_attention)
    ):
        raise ValueError("not a choice of this version")
    return found


def _whole(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{value!r} is not from {least} to {most}")
    return value


def _true_or_false(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise ValueError(f"{value!r} is not a positive number")
    return float(value)
