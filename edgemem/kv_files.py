"""Files of computed prompts (KV): how they are named, which are too old, how to be rid of them.

A file that is missing costs time and nothing else, so what goes wrong on disk is passed over. Knows no model.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from edgemem.engines.base import EngineInfo

MOST_BYTES = 1 << 30
"""Of one folder. 2,048 tokens of memory are 60 MB with a 1.5B model and 330 MB with a 4B one: two large ones fit."""
LEFTOVER_S = 3600.0  # an unfinished file this old is a dead process's: a write takes a second

_MODEL_DIGITS = 16


def kv_name(info: EngineInfo, ids: Sequence[int] = ()) -> str:
    """The file of a prompt (of fixed `ids`, where it has them) for this model, template, context, KV type, version."""
    details = (info.details.get(name, "") for name in ("kv_type", "flash_attention"))
    parts = (info.template_digest, info.version, str(info.context_tokens), *details)
    key = "\0".join((*parts, ",".join(map(str, ids))))
    return f"{_model_part(info.digest or info.model)}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.kv"


def private_folder(folder: Path) -> None:
    """Make `folder` and its missing parents, each for the owner only (`mkdir` gives parents the usual mode)."""
    for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        path.mkdir(mode=0o700, exist_ok=True)


def note_use(path: Path) -> None:
    """The file was of use: it is not the oldest one."""
    with suppress(OSError):
        os.utime(path)


def make_room(folder: Path, newest: Path, most_bytes: int = MOST_BYTES) -> None:
    """Remove dead processes' leftovers, and the files used longest ago until the rest fits. `newest` goes last."""
    now = time.time()
    files = []
    with suppress(OSError):
        files = [(path.stat().st_mtime, path) for path in folder.iterdir() if path.is_file()]
    left = []
    for used, path in files:
        if path.suffix != ".kv":
            remove([path] if now - used > LEFTOVER_S else [])
        else:
            left.append((path == newest, used, path))
    sizes = {path: _size(path) for _, _, path in left}
    for _, _, path in sorted(left):
        if sum(sizes.values()) <= most_bytes:
            return
        remove([path])
        del sizes[path]


def of_model(folders: Iterable[Path], digest: str) -> list[Path]:
    """The files that a model computed."""
    return [path for folder in folders for path in sorted(folder.glob(f"{_model_part(digest)}-*.kv"))]


def remove(paths: Iterable[Path]) -> int:
    """Remove files; returns the bytes freed."""
    freed = 0
    for path in paths:
        with suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            freed += size
    return freed


def _model_part(digest: str) -> str:
    return digest[:_MODEL_DIGITS] if len(digest) == 64 else hashlib.sha256(digest.encode()).hexdigest()[:_MODEL_DIGITS]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
