"""A bounds-checking look at a GGUF file before llama.cpp sees it: what it is, and whether all its bytes are there.

Reads the header only (never the weights), in constant memory whatever the file claims about itself. Knows the
format; does not know cards, digests or where files come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from edgemem.catalogue.gguf_reader import Reader, Value, WrongBytes
from edgemem.catalogue.gguf_tables import ARCHITECTURES, FILE_TYPES, TENSOR_TYPES
from edgemem.errors import ModelDamaged, ModelMissing, ModelUnsupported

MAX_ENTRIES = 65_536
"""Most keys, and most tensors: real files have below 100 and below 5,000 of them."""
MAX_KEY_BYTES = 256
MAX_NAME_BYTES = 63  # llama.cpp's GGML_MAX_NAME holds 64 with the final NUL
MAX_DIMS = 4
DEFAULT_ALIGNMENT = 32
KEPT_KEYS = frozenset(
    {
        "general.architecture",
        "general.alignment",
        "general.file_type",
        "general.name",
        "general.type",
        "split.count",
        "tokenizer.chat_template",
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
    }
)
EMBEDDINGS = frozenset({"token_embd.weight", "output.weight"})
KEPT_SUFFIXES = (".context_length", ".embedding_length", ".block_count", ".head_count", ".head_count_kv")


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What a GGUF says about its model. Counts are 0 and texts empty where the file does not say.

    `size_bytes` is the file's, `tensor_types` counts tensors by storage type, `parameters` counts weights,
    `embedding_parameters` those that turn tokens into vectors and back.
    """

    version: int
    architecture: str
    name: str
    chat_template: str
    context_tokens: int
    embedding: int
    blocks: int
    heads: int
    kv_heads: int
    tokenizer: str
    pre_tokenizer: str
    vocabulary: int
    file_type: str
    parameters: int
    size_bytes: int
    embedding_parameters: int = 0
    tensor_types: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Tensors:
    types: Counter[str] = field(default_factory=Counter)
    parameters: int = 0
    embedding_parameters: int = 0
    data_bytes: int = 0  # as llama.cpp lays them out: each padded to the alignment
    last_end: int = 0  # without the padding of the last one


def check_gguf(
    path: Path, *, architectures: Collection[str] = ARCHITECTURES, hint: str = "", kind: str = "model"
) -> GGUFHeader:
    """Check the header and the length of `path`, which is to hold a `kind` (model, adapter); `hint` is the next step if
    it is damaged.

    Raises ModelMissing (cannot be opened), ModelDamaged (not a GGUF, cut off, or contradicting itself) and
    ModelUnsupported (sound, but not a language model that this build knows).
    """
    try:
        with path.open("rb") as file:
            header = _read(file, path.name, kind)
    except WrongBytes as wrong:
        raise ModelDamaged(
            f"{path.name} is not a sound GGUF file: {_printable(str(wrong))}.", hint or REPAIR_HINT
        ) from wrong
    except OSError as error:
        raise ModelMissing(f"Cannot read {path}: {error.strerror or error}.", "Check the path.") from error
    if header.architecture not in architectures:
        raise ModelUnsupported(
            f"{path.name} is of the architecture '{header.architecture}', which this build cannot run.",
            "Use another model (edgemem model list), or a newer edgemem.",
        )
    return header


REPAIR_HINT = "Get the file again. For a model of the catalogue: edgemem model rm NAME && edgemem model pull NAME"


def _printable(text: str) -> str:
    """`text` without what could steer a terminal: names in a file come from strangers."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _read(file: BinaryIO, name: str, kind: str) -> GGUFHeader:
    reader = Reader(file)
    version, tensor_count, key_count = _read_counts(reader)
    values, lengths = _read_values(reader, key_count)
    _refuse_others(values, name, kind)
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
        raise WrongBytes(f"alignment {alignment!r} is not a power of two")
    tensors = _read_tensors(reader, tensor_count, alignment)
    _check_length(reader, tensors, alignment)
    return _header(version, values, lengths, tensors, reader.size)


def _read_counts(reader: Reader) -> tuple[int, int, int]:
    magic = reader.take(4)
    if magic != b"GGUF":
        raise WrongBytes(f"it starts with {magic!r} instead of b'GGUF'")
    version = reader.u32()
    if version & 0xFFFF == 0 and version:
        raise WrongBytes("it is big-endian")
    if version not in (2, 3):
        raise WrongBytes(f"format version {version} is not 2 or 3")
    tensor_count, key_count = reader.u64(), reader.u64()
    # A key takes at least 13 bytes (length, type, value), a tensor 24: absurd counts end here, before any loop.
    if key_count > MAX_ENTRIES or key_count * 13 > reader.left:
        raise WrongBytes(f"it claims {key_count:,} keys")
    if tensor_count > MAX_ENTRIES:
        raise WrongBytes(f"it claims {tensor_count:,} tensors")
    return version, tensor_count, key_count


def _read_values(reader: Reader, count: int) -> tuple[dict[str, Value], dict[str, int]]:
    """The scalars we use, and the length of every array."""
    values: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    seen: set[str] = set()
    for _ in range(count):
        key = reader.name(MAX_KEY_BYTES, "a key")
        if not key or key in seen:
            raise WrongBytes(f"the key '{key}' is empty or there twice")
        seen.add(key)
        value, length = reader.value(key, keep=key in KEPT_KEYS or key.endswith(KEPT_SUFFIXES))
        if length is not None:
            lengths[key] = length
        if value is not None:
            values[key] = value
    return values, lengths


def _refuse_others(values: dict[str, Value], name: str, wanted: str) -> None:
    parts = values.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise ModelUnsupported(
            f"{name} is one of {parts} parts of a model.",
            "Join them first: llama-gguf-split --merge FIRST OUT.gguf",
        )
    kind = values.get("general.type", "model")
    if kind != wanted:
        raise ModelUnsupported(f"{name} holds {kind!r}, not a {wanted}.", f"Choose the {wanted}'s own .gguf file.")


def _read_tensors(reader: Reader, count: int, alignment: int) -> _Tensors:
    if count * 24 > reader.left:
        raise WrongBytes(f"it claims {count:,} tensors but has {reader.left:,} bytes left")
    tensors = _Tensors()
    names: set[str] = set()
    for _ in range(count):
        name = reader.name(MAX_NAME_BYTES, "a tensor's name")
        if name in names:
            raise WrongBytes(f"the tensor '{name}' is there twice")
        names.add(name)
        _read_tensor(reader, name, alignment, tensors)
    return tensors


def _read_tensor(reader: Reader, name: str, alignment: int, tensors: _Tensors) -> None:
    dims = reader.u32()
    if dims > MAX_DIMS:
        raise WrongBytes(f"the tensor '{name}' has {dims:,} dimensions")
    shape = [reader.u64() for _ in range(dims)]
    kind = TENSOR_TYPES.get(code := reader.u32())
    offset = reader.u64()
    if kind is None:
        raise WrongBytes(f"the tensor '{name}' is of the unknown type {code}")
    elements = 1
    for dimension in shape:
        elements *= dimension
    if max(elements, *shape, 0) >= 1 << 63:
        raise WrongBytes(f"the tensor '{name}' has the impossible shape {shape}")
    row = shape[0] if shape else 1
    if row % kind.block:
        raise WrongBytes(f"the rows of '{name}' ({row:,}) are no multiple of {kind.block}")
    if offset != tensors.data_bytes:
        raise WrongBytes(f"the tensor '{name}' starts at {offset:,} instead of {tensors.data_bytes:,}")
    tensors.types[kind.name] += 1
    tensors.parameters += elements
    if name in EMBEDDINGS:
        tensors.embedding_parameters += elements
    tensors.last_end = offset + elements // kind.block * kind.size
    tensors.data_bytes = _padded(tensors.last_end, alignment)


def _check_length(reader: Reader, tensors: _Tensors, alignment: int) -> None:
    needed = _padded(reader.position, alignment) + tensors.last_end
    if tensors.last_end and reader.size < needed:
        missing = needed - reader.size
        raise WrongBytes(f"it is cut off: {missing:,} of {needed:,} bytes are missing")


def _padded(size: int, alignment: int) -> int:
    return (size + alignment - 1) // alignment * alignment


def _header(
    version: int, values: dict[str, Value], lengths: dict[str, int], tensors: _Tensors, size: int
) -> GGUFHeader:
    def number(key: str) -> int:
        value = values.get(key, 0)
        return value if isinstance(value, int) and value >= 0 else 0

    def text(key: str) -> str:
        value = values.get(key, "")
        if not isinstance(value, str):
            return ""
        return value if key == "tokenizer.chat_template" else _printable(value)

    architecture = text("general.architecture")
    if not architecture:
        raise WrongBytes("it names no architecture")
    heads = number(f"{architecture}.attention.head_count")
    return GGUFHeader(
        version=version,
        architecture=architecture,
        name=text("general.name"),
        chat_template=text("tokenizer.chat_template"),
        context_tokens=number(f"{architecture}.context_length"),
        embedding=number(f"{architecture}.embedding_length"),
        blocks=number(f"{architecture}.block_count"),
        heads=heads,
        kv_heads=number(f"{architecture}.attention.head_count_kv") or heads,
        tokenizer=text("tokenizer.ggml.model"),
        pre_tokenizer=text("tokenizer.ggml.pre"),
        vocabulary=lengths.get("tokenizer.ggml.tokens", 0),
        file_type=FILE_TYPES.get(number("general.file_type"), "") if "general.file_type" in values else "",
        parameters=tensors.parameters,
        embedding_parameters=tensors.embedding_parameters,
        size_bytes=size,
        tensor_types=dict(sorted(tensors.types.items())),
    )
