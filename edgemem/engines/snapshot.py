"""The file form of a saved sequence: fingerprint, token ids, KV bytes, and a digest over all of it.

Pure bytes; knows no model. A file that does not match in every respect is simply not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgemem.engines.base import SealedFile
from edgemem.errors import EdgememError
from edgemem.kv_files import private_folder

MAGIC = b"EMKV0001"
_HEADER = struct.Struct("<8sIQ32s")  # magic, bytes of JSON, bytes of state, sha256 over JSON + ids + state


def write_snapshot(place: Path | SealedFile, fingerprint: Mapping[str, str], ids: Sequence[int], state: bytes) -> None:
    """Write a snapshot so that `place` is either the old file or the whole new one (0600)."""
    path = place if isinstance(place, Path) else place.path
    packed = array("i", ids).tobytes()
    meta = json.dumps({"fingerprint": dict(fingerprint), "ids": len(ids)}, sort_keys=True).encode()
    digest = _digest(meta, packed, state)
    private_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".kv-")
    try:
        with os.fdopen(handle, "wb") as out:
            parts: tuple[bytes, ...] = (_HEADER.pack(MAGIC, len(meta), len(state), digest), meta, packed, state)
            if isinstance(place, SealedFile):
                parts = (place.seal(b"".join(parts)),)
            out.writelines(parts)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_snapshot(place: Path | SealedFile, fingerprint: Mapping[str, str]) -> tuple[list[int], bytes] | None:
    """Ids and state, or None when the file is missing, damaged, or of another fingerprint."""
    try:
        raw = place.read_bytes() if isinstance(place, Path) else place.open(place.path.read_bytes())
    except (OSError, EdgememError):
        return None
    if len(raw) < _HEADER.size:
        return None
    magic, meta_size, state_size, digest = _HEADER.unpack_from(raw)
    ids_size = len(raw) - _HEADER.size - meta_size - state_size
    if magic != MAGIC or ids_size < 0 or ids_size % 4:
        return None
    view = memoryview(raw)[_HEADER.size :]
    meta, packed, state = view[:meta_size], view[meta_size : meta_size + ids_size], view[meta_size + ids_size :]
    if _digest(meta, packed, state) != digest:
        return None
    try:
        said = json.loads(bytes(meta))
    except (ValueError, RecursionError):  # anybody can make a digest that is right
        return None
    if said != {"fingerprint": dict(fingerprint), "ids": ids_size // 4}:
        return None
    ids = array("i")
    ids.frombytes(packed)
    return list(ids), bytes(state)


def _digest(*parts: bytes | memoryview) -> bytes:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.digest()
