"""What an export would do, checked before anything is written: sound, known, and does it fit this machine?

Every refusal names the number or the thing that is wrong. Reads headers, configuration and tokenizer; no weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgemem.engines.template import ChatTemplate
from edgemem.errors import InvalidInput, ModelUnsupported, StoreWriteFailed
from edgemem.machine import memory_bytes
from edgemem.values import Message

from .architecture import Network, check_tensors, network_of
from .checkpoint import Checkpoint
from .convert import SIZES, base_type, data_bytes, opened, ordered, stored_type
from .lora import check_used
from .quantizations import BITS_PER_WEIGHT, FLOATS, NEED_IMATRIX, ROW_BUFFER_BYTES, block_of
from .steps import WORK
from .vocabulary import Vocabulary, read_vocabulary

ONNX_BITS = {"fp32": 48.0, "int8": 20.0, "int4": 8.0}
"""Bits per weight of a whole folder; a tied embedding is stored twice, in 32 bits but for int4. (An untied one is in 32
bits there, too: counted apart.)"""
ONNX_BLOCK = 32
EXPORTERS = ("genai", "optimum")
"""Of ONNX: onnxruntime-genai's model builder, and optimum in an environment of its own."""
SPARE_DISK_BYTES = 64 << 20
PROCESS_BYTES = 250 << 20
"""A Python process with the libraries and a vocabulary of 150,000 tokens."""
MOST_FLOAT_SHARE = 0.5
"""Of the weights; a file that keeps more of them as floats is no quantization."""


@dataclass(frozen=True)
class Plan:
    """What will be made of a checkpoint, and the estimates for it in bytes."""

    checkpoint: Checkpoint
    network: Network
    vocabulary: Vocabulary
    name: str
    out: Path
    base: str
    quantizations: tuple[str, ...]
    base_bytes: int
    file_bytes: dict[str, int]
    ram_bytes: int
    notes: tuple[str, ...]
    lora: str = ""
    keep_adapter: bool = False
    origin: str = ""
    exporter: str = "genai"

    @property
    def source_name(self) -> str:
        """What the checkpoint is called: the hub's name with the commit, or its folder's."""
        return self.origin or self.checkpoint.name

    @property
    def merged(self) -> str:
        """The adapter's folder where it goes into the weights, '' where there is none or it stays a file of its own."""
        return "" if self.keep_adapter else self.lora

    @property
    def disk_bytes(self) -> int:
        """Needed at the same time: the base, which goes at the end, and what is made of it."""
        return self.base_bytes + sum(self.file_bytes.values())


def preflight(
    source: Path,
    out: Path,
    quantizations: Sequence[str],
    *,
    name: str = "",
    imatrix: bool = False,
    onnx: bool = False,
    lora: str = "",
    keep_adapter: bool = False,
    origin: str = "",
    exporter: str = "genai",
) -> Plan:
    """Check `source` and plan; with `onnx` the quantizations are precisions of the model builder, `lora` is the folder
    of an adapter to add ('' for none), into the weights or (`keep_adapter`) as a file beside them.

    Raises InvalidInput, ModelDamaged, ModelUnsupported, StoreWriteFailed (no space).
    """
    if keep_adapter and not lora:
        raise InvalidInput("there is no adapter to keep", "name its folder: --lora FOLDER")
    checkpoint = opened(source, lora)
    network = network_of(checkpoint.config)
    check_tensors(network, checkpoint)
    check_used(checkpoint, {name for name, _ in network.tensors()})
    vocabulary = read_vocabulary(source, network.vocabulary)
    _check_template(vocabulary)
    if onnx:
        _check_exporter(exporter, quantizations, lora, network)
    gguf = () if onnx else quantizations
    notes = [note for asked in gguf for note in _check_quantization(asked, checkpoint, network, imatrix)]
    base = base_type(checkpoint)
    base_bytes = data_bytes(checkpoint, network, base)
    plan = Plan(
        checkpoint=checkpoint,
        network=network,
        vocabulary=vocabulary,
        name=name or checkpoint.name,
        out=out,
        base=base,
        quantizations=tuple(quantizations),
        base_bytes=base_bytes,
        file_bytes={asked: _file_bytes(asked, checkpoint, network, base_bytes, base) for asked in quantizations},
        ram_bytes=max(ram_estimate(checkpoint, network, base), _onnx_ram(checkpoint, network, exporter) if onnx else 0),
        notes=tuple(notes),
        lora=lora,
        keep_adapter=keep_adapter,
        origin=origin,
        exporter=exporter,
    )
    _check_out(plan)
    _check_fits(plan)
    return plan


def _check_template(vocabulary: Vocabulary) -> None:
    """Render a chat as the runtime does, in its own process and sandbox. Raises ModelUnsupported."""
    template = ChatTemplate(vocabulary.template, bos=vocabulary.token("bos"), eos=vocabulary.token("eos"))
    try:
        text = template.render([Message("user", "Hello."), Message("assistant", "Hi."), Message("user", "Well?")])
    finally:
        template.close()
    if not all(part in text for part in ("Hello.", "Hi.", "Well?")):
        raise ModelUnsupported("the chat template drops messages of a chat.", "Use the publisher's chat template.")


def _check_quantization(name: str, checkpoint: Checkpoint, network: Network, imatrix: bool) -> list[str]:
    """Refuse what cannot be, note what llama.cpp will silently do otherwise."""
    if name in NEED_IMATRIX and not imatrix:
        raise InvalidInput(f"{name} needs an importance matrix", "add --imatrix own")
    matrices = [tensor for _, tensor in ordered(checkpoint, network) if len(tensor.shape) > 1]
    odd = [tensor for tensor in matrices if tensor.shape[-1] % block_of(name)]
    floats = sum(tensor.elements for tensor in matrices if tensor.shape[-1] % 32) if name not in FLOATS else 0
    total = sum(tensor.elements for tensor in matrices)
    if floats > MOST_FLOAT_SHARE * total:
        raise ModelUnsupported(
            f"{name} would leave {floats / total:.0%} of the weights as floats: rows of {odd[0].shape[-1]} are no "
            "multiple of 32.",
            "Use --quant F16, or a checkpoint with larger layers.",
        )
    if not odd:
        return []
    return [f"{name}: {len(odd)} of {len(matrices)} matrices have rows that are no multiple of {block_of(name)}"]


def _check_exporter(exporter: str, precisions: Sequence[str], lora: str, network: Network) -> None:
    """Refuse what an exporter of ONNX cannot. Raises InvalidInput, ModelUnsupported."""
    if exporter not in EXPORTERS:
        raise InvalidInput(f"there is no exporter {exporter!r}", f"use one of {', '.join(EXPORTERS)}")
    if exporter == "genai":
        _check_blocks(precisions, network)
    elif list(precisions) != ["fp32"]:
        raise InvalidInput("optimum exports in 32 bits only", "add --quant fp32")
    elif lora:
        raise InvalidInput("optimum takes no adapter", "leave out --exporter, or merge the adapter with peft first")
    elif network.rope.kind != "default":
        raise ModelUnsupported(
            f"positions of the kind {network.rope.kind} are others in optimum's transformers.", "Leave out --exporter."
        )


def _check_blocks(precisions: Sequence[str], network: Network) -> None:
    """The builder's int4 has the zero points of two blocks in a byte, and fails where a row has an odd number."""
    widths = (network.hidden, network.heads * network.head, network.feed_forward)
    odd = [width for width in widths if -(-width // ONNX_BLOCK) % 2]
    if "int4" in precisions and odd:
        raise ModelUnsupported(
            f"int4 cannot be made of rows of {odd[0]}: an odd number of blocks of {ONNX_BLOCK}.", "Use --quant int8."
        )


def _file_bytes(name: str, checkpoint: Checkpoint, network: Network, base_bytes: int, base: str) -> int:
    if name == base:
        return base_bytes
    if name in ONNX_BITS:
        floats = network.vocabulary * network.hidden * 4 if name == "int4" and not network.tied else 0
        return int(checkpoint.parameters * ONNX_BITS[name] / 8) + floats
    vectors = sum(tensor.elements * 4 for _, tensor in ordered(checkpoint, network) if len(tensor.shape) == 1)
    weights = sum(tensor.elements for _, tensor in ordered(checkpoint, network) if len(tensor.shape) > 1)
    return int(weights * BITS_PER_WEIGHT[name] / 8) + vectors


def _onnx_ram(checkpoint: Checkpoint, network: Network, exporter: str) -> int:
    from . import onnx_genai, onnx_optimum

    if exporter == "optimum":
        return onnx_optimum.ram_bytes(checkpoint.parameters)
    return onnx_genai.ram_bytes(checkpoint, network)


def ram_estimate(checkpoint: Checkpoint, network: Network, base: str) -> int:
    """Peak of converting and quantizing: the largest matrix as it is read and as floats, and what a process needs."""
    largest = max((tensor for _, tensor in ordered(checkpoint, network)), key=lambda tensor: tensor.elements)
    stored = largest.elements * SIZES[stored_type(largest, base)]
    converting = stored + (largest.size if largest.dtype != base else 0)
    quantizing = stored + min(largest.elements * 4, ROW_BUFFER_BYTES)
    return PROCESS_BYTES + max(converting, quantizing)


def _check_out(plan: Plan) -> None:
    out = plan.out
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file", "name another folder: --out FOLDER")
    if out.resolve() == plan.checkpoint.folder.resolve():
        raise InvalidInput("the model folder would be the checkpoint's own", "name another one: --out FOLDER")
    if not plan.name.isprintable() or "/" in plan.name or plan.name.startswith("."):
        raise InvalidInput(f"{plan.name!r} cannot be a file's name", "name the model: --name NAME")


def _check_fits(plan: Plan) -> None:
    existing = next(path for path in (plan.out.absolute(), *plan.out.absolute().parents) if path.exists())
    made = sum(path.stat().st_size for path in (plan.out / WORK).glob("*.gguf"))
    free = shutil.disk_usage(existing).free + made
    needed = plan.disk_bytes + SPARE_DISK_BYTES
    if free < needed:
        raise StoreWriteFailed(
            f"not enough space in {existing}: {_megabytes(needed)} are needed, {_megabytes(free)} are free",
            "free some space, name another folder (--out FOLDER), or ask for fewer quantizations",
        )
    available = memory_bytes()[1]
    if available < plan.ram_bytes:
        raise ModelUnsupported(
            f"not enough memory: {_megabytes(plan.ram_bytes)} are needed, {_megabytes(available)} are available.",
            "Close other programs and try again.",
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
