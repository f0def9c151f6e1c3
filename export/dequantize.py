"""A GGUF turned back into a checkpoint of 16-bit floats: for models whose own checkpoint is not to be had.

What quantization took away stays away, so such a checkpoint tests an export and its checks, not which file is best.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from edgemem.errors import ModelUnsupported

from .apart import Progress
from .architecture import ARCHITECTURES, Network, network_of
from .convert import ordered_names
from .vocabulary import NORMALIZERS, PRE_TOKENIZERS

VERSION = 1
CLASSES = {kind: name for name, kind in ARCHITECTURES.items()}


def write_checkpoint(path: Path, out: Path, report: Progress) -> int:
    """Write the model in the GGUF `path` (bounds-checked before) to the new folder `out`; returns its weights.

    Matrices in F16, vectors in F32. For `run_apart`. Raises ModelUnsupported.
    """
    reader = gguf.GGUFReader(path)
    config = _config(reader)
    network = network_of(config)
    out.mkdir(parents=True)
    _write_json(out / "config.json", config)
    _write_tokenizer(reader, out)
    return _write_weights(reader, network, out / "model.safetensors", report)


def _field(reader: gguf.GGUFReader, key: str, default: Any = None) -> Any:
    found = reader.fields.get(key)
    return default if found is None else found.contents()


def _config(reader: gguf.GGUFReader) -> dict[str, Any]:
    kind = str(_field(reader, "general.architecture"))
    if kind not in CLASSES or any("rope.scaling" in key or "expert" in key for key in reader.fields):
        raise ModelUnsupported(
            f"a GGUF of the kind {kind[:40]} cannot be turned back.", f"What can: {', '.join(CLASSES)}."
        )
    names = {tensor.name for tensor in reader.tensors}
    if "rope_freqs.weight" in names:
        raise ModelUnsupported("a GGUF with scaled positions cannot be turned back.", "Use the original checkpoint.")
    heads = int(_field(reader, f"{kind}.attention.head_count"))
    hidden = int(_field(reader, f"{kind}.embedding_length"))
    return {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
        "hidden_size": hidden,
        "intermediate_size": int(_field(reader, f"{kind}.feed_forward_length")),
        "num_hidden_layers": int(_field(reader, f"{kind}.block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(_field(reader, f"{kind}.attention.head_count_kv", heads)),
        "head_dim": int(_field(reader, f"{kind}.attention.key_length", hidden // heads)),
        "vocab_size": len(_field(reader, "tokenizer.ggml.tokens")),
        "max_position_embeddings": int(_field(reader, f"{kind}.context_length")),
        "rms_norm_eps": float(f"{_field(reader, f'{kind}.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(_field(reader, f"{kind}.rope.freq_base", 1e4))},
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in names,
        "bos_token_id": _field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _field(reader, "tokenizer.ggml.eos_token_id"),
        "dtype": "float16",
    }


def _write_tokenizer(reader: gguf.GGUFReader, out: Path) -> None:
    pre = _field(reader, "tokenizer.ggml.pre")
    patterns = {name: pattern for pattern, name in PRE_TOKENIZERS.items()}
    template = _field(reader, "tokenizer.chat_template")
    if pre not in patterns or not template:
        what = f"the tokenizer {str(pre)[:40]}" if template else "no chat template"
        raise ModelUnsupported(f"a GGUF with {what} cannot be turned back.", "Use the original checkpoint.")
    tokens, kinds = _field(reader, "tokenizer.ggml.tokens"), _field(reader, "tokenizer.ggml.token_type")
    numbered = list(enumerate(zip(tokens, kinds, strict=True)))
    # Added tokens, too: the library gives those that the vocabulary lacks ids of its own.
    vocabulary = {text: number for number, (text, kind) in numbered if kind != gguf.TokenType.UNUSED}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": number, "content": text, "special": kind == gguf.TokenType.CONTROL, **flags}
        for number, (text, kind) in numbered
        if kind not in (gguf.TokenType.NORMAL, gguf.TokenType.UNUSED)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": patterns[pre]}, "behavior": "Isolated", "invert": False}
    merges = [merge.split(" ", 1) for merge in _field(reader, "tokenizer.ggml.merges")]
    model = {"type": "BPE", "vocab": vocabulary, "merges": merges, "byte_fallback": False}
    model["ignore_merges"] = pre == "llama-bpe"
    steps = {"type": "Sequence", "pretokenizers": [split, byte_level]}
    normalizer = {"type": "NFC"} if NORMALIZERS[pre][0] == "NFC" else None
    made: dict[str, Any] = {"version": "1.0", "added_tokens": added, "normalizer": normalizer, "pre_tokenizer": steps}
    _write_json(out / "tokenizer.json", made | {"post_processor": None, "decoder": byte_level, "model": model})
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    config["model_input_names"] = ["input_ids", "attention_mask"]
    config["add_bos_token"] = bool(_field(reader, "tokenizer.ggml.add_bos_token", False))
    for name, key in (("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding")):
        number = _field(reader, f"tokenizer.ggml.{key}_token_id")
        config |= {name: tokens[number]} if number is not None else {}
    _write_json(out / "tokenizer_config.json", config)
    (out / "chat_template.jinja").write_text(template, "utf-8")


def _write_weights(reader: gguf.GGUFReader, network: Network, path: Path, report: Progress) -> int:
    """One tensor at a time, after a header with all of them."""
    stored = {tensor.name: tensor for tensor in reader.tensors}
    tensors = [(name, shape, stored.get(ours)) for name, shape, ours in ordered_names(network)]
    header, at = {}, 0
    for name, shape, found in tensors:
        if found is None or tuple(reversed(found.shape.tolist())) != shape:
            raise ModelUnsupported(f"the GGUF lacks {name}, or it has another shape.", "Use the original checkpoint.")
        size = int(np.prod(shape)) * (2 if len(shape) > 1 else 4)
        kind = "F16" if len(shape) > 1 else "F32"
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for number, (name, shape, found) in enumerate(tensors, 1):
            for rows in _floats(found, shape, name, network):
                file.write(rows.astype(np.float16 if len(shape) > 1 else np.float32).tobytes())
            report("dequantize", number, len(tensors))
    return sum(int(np.prod(shape)) for _, shape, _ in tensors)


ROWS = 16_384
"""Dequantized at once: 80 MB for rows of 1,280 floats."""


def _floats(tensor: Any, shape: tuple[int, ...], name: str, network: Network) -> Iterator[NDArray[np.float32]]:
    if network.architecture == "llama" and name.rsplit(".", 2)[-2] in ("q_proj", "k_proj"):
        heads = network.heads if "q_proj" in name else network.kv_heads
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        halves = values.reshape(heads, network.head // 2, 2, *shape[1:]).swapaxes(1, 2)  # undoes `interleaved`
        yield np.ascontiguousarray(halves).reshape(shape)
        return
    for start in range(0, len(tensor.data), ROWS):
        yield gguf.quants.dequantize(tensor.data[start : start + ROWS], tensor.tensor_type)


def _write_json(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False), "utf-8")
