"""Reads the values of a GGUF header one after the other and never past the end of the file.

Every length is compared with the bytes that are left before anything is read or allocated. Does not know which
keys matter or what they mean.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

Value = int | float | bool | str

WINDOW_BYTES = 1 << 20
"""Bytes held at once. A vocabulary is hundreds of thousands of short texts: one read for each would be slow."""
MAX_TEXT_BYTES = 1 << 20
"""Longest text that we keep; chat templates are below 64 KiB."""
MAX_ARRAY_KEPT = 1024
"""Longest array of numbers that we look into (heads per layer)."""

STRING, ARRAY = 8, 9
SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
U32, U64 = SCALARS[4], SCALARS[10]


class WrongBytes(Exception):
    """The bytes are not a sound header. Stays inside the catalogue: `check_gguf` makes it a ModelDamaged."""


class Reader:
    """A window that slides over an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self._window = b""
        self._start = 0  # place of the window in the file
        self._at = 0  # place in the window

    @property
    def position(self) -> int:
        return self._start + self._at

    @property
    def left(self) -> int:
        return self.size - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes (small: callers have bounded it)."""
        self._need(count)
        if self._at + count > len(self._window):
            self._slide(count)
        self._at += count
        return self._window[self._at - count : self._at]

    def skip(self, count: int) -> None:
        self._need(count)
        self._at += count
        if self._at > len(self._window):
            self._slide(0)

    def u32(self) -> int:
        return int(U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(U64.unpack(self.take(8))[0])

    def name(self, longest: int, what: str) -> str:
        """A name of at most `longest` bytes of UTF-8."""
        try:
            return self._bytes(longest, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise WrongBytes(f"{what} is not UTF-8") from error

    def _bytes(self, longest: int, what: str) -> bytes:
        length = self.u64()
        if length > longest:
            raise WrongBytes(f"{what} is {length:,} bytes long")
        return self.take(length)

    def value(self, key: str, *, keep: bool) -> tuple[Value | None, int | None]:
        """The value of `key` if it is to be kept (the largest number of a short array), and an array's length."""
        kind = self.u32()
        if kind == ARRAY:
            return self._array(key, keep)
        if kind == STRING:
            return self._string(key, keep), None
        scalar = SCALARS.get(kind)
        if scalar is None:
            raise WrongBytes(f"'{key}' is of the unknown type {kind}")
        number: Value = scalar.unpack(self.take(scalar.size))[0]
        return (number if keep else None), None

    def _string(self, key: str, keep: bool) -> str | None:
        if keep:
            return self._bytes(MAX_TEXT_BYTES, f"'{key}'").decode("utf-8", "replace")
        self.skip(self.u64())
        return None

    def _array(self, key: str, keep: bool) -> tuple[Value | None, int]:
        kind, length = self.u32(), self.u64()
        if kind == STRING:
            self._skip_strings(key, length)
            return None, length
        scalar = SCALARS.get(kind)
        if scalar is None:  # an array of arrays too: llama.cpp refuses it
            raise WrongBytes(f"the array '{key}' is of the unknown type {kind}")
        if not keep or not 0 < length <= MAX_ARRAY_KEPT:
            self.skip(length * scalar.size)
            return None, length
        return max(scalar.unpack(self.take(scalar.size))[0] for _ in range(length)), length

    def _skip_strings(self, key: str, length: int) -> None:
        if length * U64.size > self.left:
            raise WrongBytes(f"the array '{key}' claims {length:,} texts")
        unpack = U64.unpack_from
        for _ in range(length):
            if self._at + U64.size > len(self._window):
                self._need(U64.size)
                self._slide(U64.size)
            step = unpack(self._window, self._at)[0] + U64.size
            if step > self.left:
                self._need(step)
            self._at += step
            if self._at > len(self._window):
                self._slide(0)

    def _need(self, count: int) -> None:
        if count > self.left:
            raise WrongBytes(
                f"it is cut off: at byte {self.position:,} of {self.size:,} another {count:,} bytes should follow"
            )

    def _slide(self, count: int) -> None:
        """Let the window start at the position and hold at least `count` bytes."""
        self._start, self._at = self.position, 0
        self._file.seek(self._start)
        self._window = self._file.read(max(WINDOW_BYTES, count))
        if len(self._window) < count:
            raise WrongBytes("it became shorter while it was read")
