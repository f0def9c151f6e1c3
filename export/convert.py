"""A checkpoint as one GGUF file in the precision it has: the base that all quantizations are made from.

Written tensor by tensor on the `gguf` library: memory holds one tensor, never the model. The same checkpoint gives the
same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from .apart import Progress
from .architecture import Network, network_of
from .checkpoint import Checkpoint, Tensor, open_checkpoint
from .lora import Merged, as_floats, with_adapter
from .quantizations import NUMBERS
from .vocabulary import Vocabulary, read_vocabulary

VERSION = 2
"""Raise it whenever the bytes change that are written for a checkpoint."""
KINDS = {"F32": gguf.GGMLQuantizationType.F32, "F16": gguf.GGMLQuantizationType.F16} | {
    "BF16": gguf.GGMLQuantizationType.BF16
}
SIZES = {"F32": 4, "F16": 2, "BF16": 2}
Bits = NDArray[Any]


def base_type(checkpoint: Checkpoint) -> str:
    """BF16 or F16 where all matrices have that type, else F32: what loses nothing."""
    found = {tensor.dtype for tensor in checkpoint.tensors.values() if len(tensor.shape) > 1}
    return found.pop() if len(found) == 1 else "F32"


def stored_type(tensor: Tensor, base: str) -> str:
    """Vectors (norms, biases) are always stored in 32 bits."""
    return base if len(tensor.shape) > 1 else "F32"


def ordered(checkpoint: Checkpoint, network: Network) -> list[tuple[str, Tensor]]:
    """GGUF name and tensor, in the order of the network's layers."""
    return [(ours, checkpoint.tensors[name]) for name, _, ours in ordered_names(network)]


def ordered_names(network: Network) -> list[tuple[str, tuple[int, ...], str]]:
    """Name in the checkpoint, shape, and name in GGUF."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[network.architecture.upper()], network.layers)
    found = []
    for name, shape in network.tensors():
        ours = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert ours is not None, name  # `tensors` yields only what these architectures have
        found.append((name, shape, ours))
    return found


def data_bytes(checkpoint: Checkpoint, network: Network, base: str) -> int:
    """Size of the tensors in the file."""
    return sum(tensor.elements * SIZES[stored_type(tensor, base)] for _, tensor in ordered(checkpoint, network))


def opened(folder: Path, lora: str = "") -> Checkpoint:
    """The checkpoint in `folder`, with the adapter in the folder `lora` added ('' for none)."""
    checkpoint = open_checkpoint(folder)
    return with_adapter(checkpoint, Path(lora)) if lora else checkpoint


def write_gguf(folder: Path, lora: str, out: Path, name: str, base: str, report: Progress) -> int:
    """Write the checkpoint in `folder` to `out` with weights of the type `base`; returns the number of tensors.

    For `run_apart`. Raises as preflight does.
    """
    checkpoint = opened(folder, lora)
    network = network_of(checkpoint.config)
    writer = gguf.GGUFWriter(out, network.architecture)
    add_metadata(writer, network, name, base)
    add_vocabulary(writer, read_vocabulary(folder, network.vocabulary))
    tensors = ordered(checkpoint, network)
    extra = _rope_factors(network)
    if extra is not None:
        writer.add_tensor_info("rope_freqs.weight", extra.shape, extra.dtype, extra.nbytes)
    for ours, tensor in tensors:
        kind = stored_type(tensor, base)
        writer.add_tensor_info(ours, tensor.shape, np.dtype(np.float32), tensor.elements * SIZES[kind], KINDS[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for values in _values(network, tensors, extra, base, report):
        writer.write_tensor_data(values)
    writer.close()
    return len(tensors) + (extra is not None)


def _values(
    network: Network, tensors: list[tuple[str, Tensor]], extra: Bits | None, base: str, report: Progress
) -> Iterator[Bits]:
    if extra is not None:
        yield extra
    for number, (_, tensor) in enumerate(tensors, 1):
        kind, have = stored_type(tensor, base), tensor.dtype
        if isinstance(tensor, Merged) and kind == "F32":
            values, have = tensor.summed(), "F32"  # else the check against peft would see a rounding that it has not
        else:
            values = tensor.read()
        if network.architecture == "llama":
            values = interleaved(values, tensor.name, network)
        yield as_type(values, have, kind)
        report("convert", number, len(tensors))


def as_type(values: Bits, have: str, want: str) -> Bits:
    """Bits of the type `have` as the type `want`; BF16 is kept in uint16. Only widens, so nothing is lost."""
    if have == want:
        return values
    assert want == "F32", (have, want)
    return as_floats(values, have)


def interleaved(values: Bits, name: str, network: Network) -> Bits:
    """Llama only: ggml rotates neighbouring rows of a head, transformers rows half a head apart."""
    part = name.rsplit(".", 2)[-2]
    heads = {"q_proj": network.heads, "k_proj": network.kv_heads}.get(part)
    if heads is None:
        return values
    shape = values.shape
    return np.ascontiguousarray(values.reshape(heads, 2, network.head // 2, *shape[1:]).swapaxes(1, 2).reshape(shape))


def add_metadata(writer: gguf.GGUFWriter, network: Network, name: str, base: str) -> None:
    """What the file says about the network."""
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_file_type(NUMBERS[base])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(network.layers)
    writer.add_context_length(network.context_tokens)
    writer.add_embedding_length(network.hidden)
    writer.add_feed_forward_length(network.feed_forward)
    writer.add_head_count(network.heads)
    writer.add_head_count_kv(network.kv_heads)
    writer.add_key_length(network.head)
    writer.add_value_length(network.head)
    writer.add_vocab_size(network.vocabulary)
    writer.add_layer_norm_rms_eps(network.epsilon)
    writer.add_rope_freq_base(network.rope.base)
    if network.architecture == "llama":
        writer.add_rope_dimension_count(network.head)
    numbers = network.rope.numbers
    if network.rope.kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(numbers["factor"])
    if network.rope.kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(numbers["factor"])
        writer.add_rope_scaling_orig_ctx_len(int(numbers["original_max_position_embeddings"]))


def _rope_factors(network: Network) -> Bits | None:
    """Llama 3's scaling: each frequency is divided by a factor of its own, which the file carries as a tensor.

    Frequencies with a wavelength beyond context / low are divided by `factor`, those within context / high stay, and
    between them the two are blended.
    """
    if network.rope.kind != "llama3":
        return None
    numbers = network.rope.numbers
    low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
    frequencies = network.rope.base ** -(np.arange(0, network.head, 2, dtype=np.float64) / network.head)
    turns = numbers["original_max_position_embeddings"] * frequencies / (2 * np.pi)  # within the original context
    blend = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return np.asarray(1.0 / ((1.0 - blend) / numbers["factor"] + blend), dtype=np.float32)


def add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    """Tokens, merges, special tokens and the chat template."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre_tokenizer)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.kinds)
    vocabulary.special.add_to_gguf(writer, quiet=True)
