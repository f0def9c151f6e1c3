"""The only home of llama_cpp: a thin typed layer over its low-level C API.

Loads a model and a context, tokenizes, decodes batches, hands out logits rows, moves KV between sequences.
Knows nothing of prompts, sampling or sessions. The high-level `Llama` class is not used: it loses time in
seven places (default threads, detokenising all output per token, grammar over the whole vocabulary, ...).
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import sys
import unicodedata
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgemem.engines.drafting import BATCH_COSTS
from edgemem.errors import Cancelled, ContextExceeded, EngineFailed, InvalidInput, ModelUnsupported

# OpenMP threads that spin while they wait collapse on a busy machine (measured on 2 busy cores, 0.5B decode: 5 tokens/s
# with long spins, 10-11 with short ones or none); never spinning halves decode on an idle one (16 instead of 28-30).
# A short spin is good at both. Read by libgomp when it is loaded, so it must be set before the import.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _c_api() -> Any:
    """`llama_cpp.llama_cpp` without the package around it: chat formats, cache and jinja2 are 0.13 s of each start.
    Who imports the package later gets it whole."""
    name = "llama_cpp"
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        return importlib.import_module(f"{name}.{name}")
    package = ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package
    try:
        return importlib.import_module(f"{name}.{name}")
    finally:
        del sys.modules[name]


if TYPE_CHECKING:
    import llama_cpp.llama_cpp as lib
else:
    lib = _c_api()
VERSION = version("llama_cpp_python")
KV_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}
KV_BITS = {"f32": 32, "f16": 16, "q8_0": 8.5}  # q8_0: a scale of 16 bits for 32 values
NFC_PRE_TOKENIZERS = {"qwen2", "qwen35", "deepseek-r1-qwen"}  # their Hugging Face tokenizers normalise to NFC

_log: deque[tuple[int, str]] = deque(maxlen=2000)


@lib.llama_log_callback  # type: ignore[untyped-decorator,unused-ignore]
def _keep_log(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    _log.append((level, text.decode("utf-8", "replace")))


lib.llama_log_set(_keep_log, ctypes.c_void_p(0))


def system_info() -> str:
    """What the installed build was compiled for (AVX2, AVX512, NEON ...), in llama.cpp's own words."""
    return str(lib.llama_print_system_info().decode("utf-8", "replace")).strip()


def gpu_offload_supported() -> bool:
    """Whether the installed build can put layers on a GPU that it has found."""
    return bool(lib.llama_supports_gpu_offload())


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load. `gpu_layers` None: all of them when the build can, none otherwise. `quantized` weights are
    repacked for the CPU. `adapter` is a LoRA adapter in GGUF form, added to what the weights compute."""

    context_tokens: int
    threads: int
    device: str = "auto"
    gpu_layers: int | None = None
    quantized: bool = True
    batch_tokens: int = 512
    sequences: int = 32
    kv_type: str = "f16"
    flash_attention: bool = False
    batch_costs: Mapping[int, float] = field(default_factory=lambda: BATCH_COSTS)
    adapter: Path | None = None


class Binding:
    """One loaded model with one context of `context_tokens` cells that all its sequences share."""

    def __init__(self, path: Path, options: LoadOptions) -> None:
        self.path = path
        _log.clear()
        lib.llama_backend_init()
        layers = _gpu_layers(options)
        self._model = _load_model(path, layers, options.quantized)
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._context: Any = None
        self._batch: _Batch | None = None
        self._closed = False
        try:
            self._adapter = load_adapter(self._model, options.adapter) if options.adapter else None
            self.reopen(options)
        except (EngineFailed, ModelUnsupported):
            self.close()
            raise
        self.vocabulary = int(lib.llama_vocab_n_tokens(self._vocab))
        self.train_context = int(lib.llama_model_n_ctx_train(self._model))
        self.device = _device_used(layers)
        self._nfc = self.metadata("tokenizer.ggml.pre") in NFC_PRE_TOKENIZERS
        self._pieces: dict[int, bytes] = {}

    def reopen(self, options: LoadOptions) -> None:
        """Another context over the same weights; what was in the cache is gone. Raises EngineFailed."""
        self._free_context()
        self._context = _open_context(self._model, options)
        if self._adapter is not None:
            use_adapter(self._context, self._adapter)
        self._batch = _Batch(options.batch_tokens)
        self._memory = lib.llama_get_memory(self._context)
        self.context_tokens = int(lib.llama_n_ctx(self._context))
        self.options = options

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._free_context()
            lib.llama_model_free(self._model)

    def _free_context(self) -> None:
        if self._batch is not None:
            self._batch.free()
        if self._context is not None:
            lib.llama_free(self._context)
        self._batch = self._context = None

    # --- text and tokens

    @property
    def kv_bytes_per_token(self) -> int:
        """What one token takes in the KV cache, by the header: keys and values of every layer. 0: it does not say."""
        name = self.metadata("general.architecture")

        def number(key: str) -> int:
            text = self.metadata(f"{name}.{key}")
            return int(text) if text.isdigit() else 0

        layers, heads = number("block_count"), number("attention.head_count")
        kv_heads = number("attention.head_count_kv") or heads
        width = number("embedding_length") // heads if heads else 0
        widths = (number("attention.key_length") or width) + (number("attention.value_length") or width)
        return int(layers * kv_heads * widths * KV_BITS[self.options.kv_type] / 8)

    def metadata(self, key: str) -> str:
        """A metadata value of the GGUF as text, '' when absent."""
        size = 1 << 16
        while True:
            buffer = ctypes.create_string_buffer(size)
            wanted = lib.llama_model_meta_val_str(self._model, key.encode(), buffer, size)
            if wanted < size:
                return buffer.value.decode("utf-8", "replace") if wanted >= 0 else ""
            size = wanted + 1

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Ids of `text`; with `special`, control tokens in it are control tokens. Never adds BOS.

        Text is normalised to NFC where the checkpoint's own tokenizer does so: llama.cpp does not.
        """
        if self._nfc:
            text = unicodedata.normalize("NFC", text)
        raw = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
        size = len(raw) + 8
        ids = (lib.llama_token * size)()
        count = lib.llama_tokenize(self._vocab, raw, len(raw), ids, size, False, special)
        if count < 0:
            raise EngineFailed("the model's tokenizer refused a text", "please report this model")
        return list(ids[:count])

    def bos(self) -> list[int]:
        """The token to put first where this model wants one."""
        if not lib.llama_vocab_get_add_bos(self._vocab):
            return []
        return [int(lib.llama_vocab_bos(self._vocab))]

    def token_text(self, token: int) -> str:
        return self.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def special_text(self, which: str) -> str:
        """Text of the `bos` or `eos` token, '' where there is none."""
        get = {"bos": lib.llama_vocab_bos, "eos": lib.llama_vocab_eos}[which]
        return self.token_text(int(get(self._vocab)))

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Bytes of one token; control tokens are empty unless `special`."""
        if not special and token in self._pieces:
            return self._pieces[token]
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
            if count >= 0:
                break
            size = -count
        raw = buffer.raw[:count]
        if not special:
            self._pieces[token] = raw
        return raw

    def is_end(self, token: int) -> bool:
        return bool(lib.llama_vocab_is_eog(self._vocab, token))

    # --- KV and decoding

    def decode(self, rows: Sequence[Row], cancelled: Callable[[], bool] | None = None) -> list[NDArray[np.float32]]:
        """Run tokens through the model, `batch_tokens` at a time; returns the logits of the rows that want them.

        Raises ContextExceeded when the cells shared by all sequences are used up, Cancelled when told to stop
        between two batches (the sequences' cells are then incomplete).
        """
        out: list[NDArray[np.float32]] = []
        for start in range(0, len(rows), self.options.batch_tokens):
            if cancelled is not None and cancelled():
                raise Cancelled("stopped while reading")
            part = rows[start : start + self.options.batch_tokens]
            assert self._batch is not None, "no context is open"
            status = lib.llama_decode(self._context, self._batch.fill(part))
            if status == 1:
                raise ContextExceeded(
                    f"the model's context of {self.context_tokens} tokens is full",
                    "use a larger one: --context N",
                )
            if status != 0:
                raise EngineFailed(f"llama.cpp could not decode (status {status}): {log_tail()}")
            out.extend(self._row(index) for index, row in enumerate(part) if row.wanted)
        return out

    def _row(self, index: int) -> NDArray[np.float32]:
        pointer = lib.llama_get_logits_ith(self._context, index)
        if not pointer:
            raise EngineFailed("llama.cpp returned no logits")
        return np.array(np.ctypeslib.as_array(pointer, shape=(self.vocabulary,)))

    def copy(self, source: int, target: int) -> None:
        """Let `target` share all cells of `source`."""
        lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def trim(self, sequence: int, position: int) -> None:
        """Drop the cells of a sequence from `position` on."""
        lib.llama_memory_seq_rm(self._memory, sequence, position, -1)

    def state(self, sequence: int) -> bytes:
        """The KV of one sequence as bytes."""
        size = lib.llama_state_seq_get_size(self._context, sequence)
        buffer = (ctypes.c_uint8 * size)()
        written = lib.llama_state_seq_get_data(self._context, buffer, size, sequence)
        return bytes(memoryview(buffer)[:written])

    def restore(self, sequence: int, state: bytes) -> bool:
        """Put saved KV into a sequence; False (and an empty sequence) when llama.cpp refuses it."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        used = lib.llama_state_seq_set_data(self._context, buffer, len(state), sequence)
        if used == 0:
            self.trim(sequence, -1)
        return bool(used)


@dataclass(frozen=True, slots=True)
class Row:
    """One token to decode: where it goes, and whether its logits are wanted."""

    token: int
    position: int
    sequence: int
    wanted: bool = False


class _Batch:
    """A reusable llama_batch whose arrays are written through numpy views."""

    def __init__(self, size: int) -> None:
        self._batch = lib.llama_batch_init(size, 0, 1)
        self._token = np.ctypeslib.as_array(self._batch.token, shape=(size,))
        self._position = np.ctypeslib.as_array(self._batch.pos, shape=(size,))
        self._sequences = np.ctypeslib.as_array(self._batch.n_seq_id, shape=(size,))
        self._wanted = np.ctypeslib.as_array(self._batch.logits, shape=(size,))
        self._sequence = [self._batch.seq_id[index] for index in range(size)]
        self._sequences[:] = 1

    def fill(self, rows: Sequence[Row]) -> Any:
        count = len(rows)
        self._batch.n_tokens = count
        self._token[:count] = [row.token for row in rows]
        self._position[:count] = [row.position for row in rows]
        self._wanted[:count] = [row.wanted for row in rows]
        for index, row in enumerate(rows):
            self._sequence[index][0] = row.sequence
        return self._batch

    def free(self) -> None:
        lib.llama_batch_free(self._batch)


def buffer_bytes() -> dict[str, int]:
    """Bytes of the buffers that llama.cpp set up for the last model and its contexts: model, KV, compute, output."""
    found: dict[str, int] = {}
    said = "".join(text for _, text in _log)
    for kind, mib in re.findall(r"(model|KV|compute|output) buffer size\s*=\s*([\d.]+) MiB", said):
        found[kind] = found.get(kind, 0) + int(float(mib) * (1 << 20))
    return found


def log_tail(lines: int = 4) -> str:
    """The last warnings and errors of llama.cpp, for messages."""
    serious = [text.strip() for level, text in _log if level in (3, 4) and text.strip()]
    return " / ".join(serious[-lines:]) or "no reason given"


def _gpu_layers(options: LoadOptions) -> int:
    supported = gpu_offload_supported()
    if options.device == "cpu":
        return 0
    if options.device == "gpu" and not supported:
        raise InvalidInput(
            "the installed llama-cpp-python was built without GPU support",
            'rebuild it, e.g. CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall --no-cache-dir '
            "llama-cpp-python, or use --device cpu",
        )
    if not supported:
        return 0
    return 999 if options.gpu_layers is None else options.gpu_layers


def _load_model(path: Path, gpu_layers: int, quantized: bool) -> Any:
    params = lib.llama_model_default_params()
    params.n_gpu_layers = gpu_layers
    # Repacked weights and their memory map would both stay resident (25.9 GB instead of 13.9 GB in one report),
    # so the map is only used where nothing is repacked.
    # Where llama.cpp was compiled for AMX by GCC 12, whose header lets the tile configuration be optimized away, the
    # first matrix kills the process; nobody can tell from outside, so weights are not laid out for AMX.
    params.use_extra_bufts = "AMX_INT8 = 1" not in system_info()
    repacked = gpu_layers == 0 and quantized and params.use_extra_bufts
    params.load_mode = lib.LLAMA_LOAD_MODE_NONE if repacked else lib.LLAMA_LOAD_MODE_MMAP
    model = lib.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ModelUnsupported(
            f"llama.cpp cannot load {path.name}: {log_tail()}", "see what the file holds: edgemem model info"
        )
    return model


def load_adapter(model: Any, path: Path) -> Any:
    """The adapter; llama.cpp frees it with its model. It refuses one that does not fit the model's matrices."""
    adapter = lib.llama_adapter_lora_init(model, os.fsencode(path))
    if not adapter:
        raise ModelUnsupported(
            f"llama.cpp cannot load the adapter {path.name}: {log_tail()}",
            "it belongs to another model; export both together: edgemem export gguf SRC --lora FOLDER --keep-adapter",
        )
    return adapter


def use_adapter(context: Any, adapter: Any) -> None:
    """At its full strength."""
    adapters, scales = (lib.llama_adapter_lora_p_ctypes * 1)(adapter), (ctypes.c_float * 1)(1.0)
    if lib.llama_set_adapters_lora(context, adapters, 1, scales):
        raise EngineFailed(f"llama.cpp could not use the adapter: {log_tail()}")


def _open_context(model: Any, options: LoadOptions) -> Any:
    params = lib.llama_context_default_params()
    params.n_ctx = options.context_tokens
    params.n_batch = params.n_ubatch = options.batch_tokens
    params.n_seq_max = options.sequences
    params.kv_unified = True  # sequences share the cells, so a fork costs none
    params.n_threads = params.n_threads_batch = options.threads
    params.type_k = params.type_v = KV_TYPES[options.kv_type]
    # Off unless the self-test found it faster: on CPUs its sign differs by machine (0.5x to 2.4x).
    params.flash_attn_type = (
        lib.LLAMA_FLASH_ATTN_TYPE_ENABLED if options.flash_attention else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    )
    params.no_perf = True
    context = lib.llama_init_from_model(model, params)
    if not context:
        raise EngineFailed(
            f"llama.cpp could not open a context of {options.context_tokens} tokens: {log_tail()}",
            "use a smaller one: --context 4096",
        )
    return context


def _device_used(gpu_layers: int) -> str:
    text = "".join(line for _, line in _log)
    offloaded = re.findall(r"offloaded (\d+)/(\d+) layers", text)
    devices = re.findall(r"using device (\S+)", text)
    if gpu_layers and offloaded and int(offloaded[-1][0]) > 0:
        return f"gpu ({', '.join(dict.fromkeys(devices)) or 'unnamed'}, {offloaded[-1][0]}/{offloaded[-1][1]} layers)"
    return "cpu"
