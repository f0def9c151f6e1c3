"""The GGUF check: tells what a sound file is, and refuses every other with one of our errors."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgemem.catalogue.gguf import GGUFHeader, check_gguf
from edgemem.errors import EdgememError, ModelDamaged, ModelMissing, ModelUnsupported

Pair = tuple[str, int, bytes]
U32, STRING, ARRAY, U64, F32 = 4, 8, 9, 10, 6


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


PAIRS: list[Pair] = [
    ("general.architecture", STRING, text("llama")),
    ("general.name", STRING, text("Tiny")),
    ("general.file_type", U32, u32(7)),
    ("llama.context_length", U32, u32(64)),
    ("llama.embedding_length", U32, u32(32)),
    ("llama.block_count", U32, u32(2)),
    ("llama.attention.head_count", U32, u32(4)),
    ("llama.attention.head_count_kv", ARRAY, u32(U32) + u64(2) + u32(2) + u32(1)),
    ("llama.rope.freq_base", F32, struct.pack("<f", 1e4)),
    ("tokenizer.ggml.model", STRING, text("gpt2")),
    ("tokenizer.ggml.pre", STRING, text("qwen2")),
    ("tokenizer.ggml.tokens", ARRAY, u32(STRING) + u64(3) + text("a") + text("b") + text("cc")),
    ("tokenizer.chat_template", STRING, text("{{ messages }}")),
]
Tensor = tuple[str, tuple[int, ...], int, int]  # name, shape, type, bytes
TENSORS: list[Tensor] = [("token_embd.weight", (32, 3), 0, 384), ("output.weight", (32, 3), 8, 102)]


def padded(size: int, alignment: int = 32) -> int:
    return (size + alignment - 1) // alignment * alignment


def gguf(
    pairs: list[Pair] = PAIRS,
    *,
    magic: bytes = b"GGUF",
    version: bytes = u32(3),
    keys: int | None = None,
    tensors: list[Tensor] = TENSORS,
    tensor_count: int | None = None,
    offsets: tuple[int, ...] | None = None,
) -> bytes:
    """The bytes of a small file, sound unless told otherwise."""
    out = magic + version + u64(len(tensors) if tensor_count is None else tensor_count)
    out += u64(len(pairs) if keys is None else keys)
    for key, kind, value in pairs:
        out += text(key) + u32(kind) + value
    offset = 0
    for index, (name, shape, kind, size) in enumerate(tensors):
        place = offsets[index] if offsets else offset
        out += text(name) + u32(len(shape)) + b"".join(map(u64, shape)) + u32(kind) + u64(place)
        offset += padded(size)
    out = out.ljust(padded(len(out)), b"\0")
    for _, _, _, size in tensors:
        out = out.ljust(padded(len(out)), b"\0") + b"\1" * size
    return out


def replaced(key: str, kind: int, value: bytes) -> list[Pair]:
    return [pair for pair in PAIRS if pair[0] != key] + [(key, kind, value)]


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


def test_a_sound_file_is_described(tmp_path: Path) -> None:
    content = gguf()
    assert check_gguf(written(tmp_path, content)) == GGUFHeader(
        version=3,
        architecture="llama",
        name="Tiny",
        chat_template="{{ messages }}",
        context_tokens=64,
        embedding=32,
        blocks=2,
        heads=4,
        kv_heads=2,
        tokenizer="gpt2",
        pre_tokenizer="qwen2",
        vocabulary=3,
        file_type="Q8_0",
        parameters=192,
        size_bytes=len(content),
        embedding_parameters=192,
        tensor_types={"F32": 1, "Q8_0": 1},
    )


def test_bytes_after_the_last_tensor_do_no_harm(tmp_path: Path) -> None:
    assert check_gguf(written(tmp_path, gguf() + b"\0" * 100)).name == "Tiny"


def test_a_header_longer_than_the_window_is_read(tmp_path: Path) -> None:
    long = text("x" * 70_000)
    tokens = u32(STRING) + u64(40) + long * 40
    content = gguf([*replaced("tokenizer.ggml.tokens", ARRAY, tokens), ("other.blob", STRING, text("y" * 3_000_000))])
    header = check_gguf(written(tmp_path, content))
    assert (header.vocabulary, header.tensor_types) == (40, {"F32": 1, "Q8_0": 1})


DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "control characters": (lambda: gguf([("\x1b[2J", 77, u32(1))]), "'�[2J' is of the unknown type 77"),
    "empty": (lambda: b"", "it is cut off: at byte 0 of 0 another 4 bytes should follow"),
    "another format": (lambda: b"PK\3\4" + b"\0" * 100, r"it starts with b'PK\x03\x04' instead of b'GGUF'"),
    "big-endian": (lambda: gguf(version=struct.pack(">I", 3)), "it is big-endian"),
    "version 1": (lambda: gguf(version=u32(1)), "format version 1 is not 2 or 3"),
    "version 4": (lambda: gguf(version=u32(4)), "format version 4 is not 2 or 3"),
    "too many keys": (lambda: gguf(keys=1 << 60), "it claims 1,152,921,504,606,846,976 keys"),
    "too many tensors": (lambda: gguf(tensor_count=70_000), "it claims 70,000 tensors"),
    "more tensors than bytes": (lambda: gguf(tensor_count=60_000), "it claims 60,000 tensors but has"),
    "absurd key": (lambda: gguf([("k" * 300, U32, u32(1))]), "a key is 300 bytes long"),
    "key twice": (lambda: gguf([*PAIRS, PAIRS[0]]), "the key 'general.architecture' is empty or there twice"),
    "unknown type of value": (lambda: gguf([*PAIRS, ("k", 77, u32(1))]), "'k' is of the unknown type 77"),
    "array of arrays": (
        lambda: gguf([*PAIRS, ("k", ARRAY, u32(ARRAY) + u64(1))]),
        "the array 'k' is of the unknown type 9",
    ),
    "endless array": (
        lambda: gguf([*PAIRS, ("k", ARRAY, u32(U64) + u64(1 << 61))]),
        "another 18,446,744,073,709,551,616 bytes should follow",
    ),
    "endless array of texts": (
        lambda: gguf([*PAIRS, ("k", ARRAY, u32(STRING) + u64(1 << 61))]),
        "the array 'k' claims 2,305,843,009,213,693,952 texts",
    ),
    "endless text": (
        lambda: gguf([*PAIRS, ("k", STRING, u64((1 << 64) - 1))]),
        "another 18,446,744,073,709,551,615 bytes should follow",
    ),
    "endless template": (
        lambda: gguf(replaced("tokenizer.chat_template", STRING, u64(1 << 40))),
        "'tokenizer.chat_template' is 1,099,511,627,776 bytes long",
    ),
    "alignment 24": (lambda: gguf([*PAIRS, ("general.alignment", U32, u32(24))]), "alignment 24 is not a power"),
    "no architecture": (lambda: gguf(PAIRS[1:]), "it names no architecture"),
    "five dimensions": (
        lambda: gguf(tensors=[("t", (32, 1, 1, 1, 1), 0, 128)]),
        "the tensor 't' has 5 dimensions",
    ),
    "overflowing shape": (
        lambda: gguf(tensors=[("t", (1 << 40, 1 << 40), 0, 128)]),
        "the tensor 't' has the impossible shape",
    ),
    "removed tensor type": (
        lambda: gguf(tensors=[("t", (32,), 4, 128)]),
        "the tensor 't' is of the unknown type 4",
    ),
    "broken rows": (lambda: gguf(tensors=[("t", (33,), 8, 34)]), "the rows of 't' (33) are no multiple of 32"),
    "overlapping tensors": (lambda: gguf(offsets=(0, 0)), "the tensor 'output.weight' starts at 0 instead of 384"),
    "tensor twice": (lambda: gguf(tensors=[TENSORS[0]] * 2), "the tensor 'token_embd.weight' is there twice"),
    "one byte short": (lambda: gguf()[:-1], "it is cut off: 1 of"),
    "cut in the header": (lambda: gguf()[:200], "it is cut off: at byte"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused_with_its_fault(tmp_path: Path, case: str) -> None:
    make, fault = DAMAGED[case]
    with pytest.raises(ModelDamaged) as caught:
        check_gguf(written(tmp_path, make()))
    assert caught.value.message.startswith("model.gguf is not a sound GGUF file: ")
    assert fault in caught.value.message
    assert "edgemem model pull" in caught.value.hint


UNSUPPORTED: dict[str, tuple[list[Pair], str]] = {
    "unknown architecture": (
        replaced("general.architecture", STRING, text("hal9000")),
        "model.gguf is of the architecture 'hal9000', which this build cannot run.",
    ),
    "one of several parts": (
        [*PAIRS, ("split.count", U32, u32(3))],
        "model.gguf is one of 3 parts of a model.",
    ),
    "a projector": (
        [*PAIRS, ("general.type", STRING, text("mmproj"))],
        "model.gguf holds 'mmproj', not a model.",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_this_build_cannot_run_is_said(tmp_path: Path, case: str) -> None:
    pairs, message = UNSUPPORTED[case]
    with pytest.raises(ModelUnsupported) as caught:
        check_gguf(written(tmp_path, gguf(pairs)))
    assert caught.value.message == message
    assert caught.value.hint


def test_a_missing_file_or_a_folder_is_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.gguf", tmp_path):
        with pytest.raises(ModelMissing):
            check_gguf(path)


def test_cut_anywhere_it_is_damaged(tmp_path: Path) -> None:
    path = written(tmp_path, gguf())
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        with pytest.raises(ModelDamaged):
            check_gguf(path)


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(gguf()) - 1), st.sampled_from([0, 1, 8, 9, 127, 128, 255]) | st.integers(0, 255)),
        min_size=1,
        max_size=6,
    )
)
def test_changed_bytes_give_our_errors_and_no_large_allocation(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    content = bytearray(gguf())
    for place, byte in changes:
        content[place] = byte
    path = written(tmp_path, bytes(content))
    tracemalloc.start()
    try:
        check_gguf(path)
    except EdgememError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 << 20  # the window is 1 MiB
