"""A LoRA adapter (peft) added to a checkpoint's weights, one matrix at a time: no torch, no whole model in memory.

W + scale * B A (Hu et al. 2021, arXiv 2106.09685, section 4.1), rounded to the type that W has, as peft's merge does.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemem.errors import InvalidInput, ModelDamaged, ModelUnsupported

from .checkpoint import Checkpoint, Tensor, read_json, tensors_of

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
CANNOT = ("use_dora", "modules_to_save", "alpha_pattern", "rank_pattern", "lora_bias", "fan_in_fan_out")
"""What a plain sum of two products cannot express, or is stored otherwise."""


@dataclass(frozen=True, slots=True)
class Merged(Tensor):
    """A matrix with its adapter: `down` is A (rank x columns), `up` is B (rows x rank)."""

    down: Tensor
    up: Tensor
    scale: float

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    def read(self) -> NDArray[Any]:
        return from_floats(self.summed(), self.dtype)

    def summed(self) -> NDArray[np.float32]:
        """The sum before it is rounded to the matrix's own type."""
        values = as_floats(Tensor.read(self), self.dtype)
        values += self.scale * (floats(self.up) @ floats(self.down))
        return values


def with_adapter(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The checkpoint with the adapter in `folder` added. Raises InvalidInput, ModelUnsupported, ModelDamaged."""
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise InvalidInput(f"{folder} has no {CONFIG} and {WEIGHTS}", "give the folder of a LoRA adapter made by peft")
    scale = scale_of(read_json(folder / CONFIG))
    found = {tensor.name: tensor for tensor in tensors_of(folder / WEIGHTS)}
    tensors = dict(checkpoint.tensors)
    pairs = sorted({name.rpartition(".lora_")[0] for name in found if ".lora_" in name})
    if unknown := [name for name in found if not name.endswith((".lora_A.weight", ".lora_B.weight"))]:
        raise ModelUnsupported(f"the adapter has the tensor {unknown[0][:80]}.", "Merge it with peft first.")
    if not pairs:
        raise ModelDamaged(f"{WEIGHTS} holds no matrix.", "Get the adapter again.")
    for pair in pairs:
        name = f"{pair.removeprefix(PREFIX)}.weight"
        tensors[name] = _merged(name, tensors, found, pair, scale)
    return Checkpoint(checkpoint.folder, checkpoint.config, tensors)


def check_used(checkpoint: Checkpoint, used: Collection[str]) -> None:
    """Refuse an adapter of a matrix that the network does not use (a tied output). Raises ModelUnsupported."""
    for name, tensor in checkpoint.tensors.items():
        if isinstance(tensor, Merged) and name not in used:
            raise ModelUnsupported(f"the adapter changes {name[:80]}, which this network does not use.", _PEFT)


def adapter_files(lora: str) -> list[Path]:
    """What an adapter consists of."""
    return [Path(lora) / CONFIG, Path(lora) / WEIGHTS] if lora else []


def scale_of(config: Mapping[str, Any]) -> float:
    """What the product is multiplied with. Raises ModelUnsupported for adapters that are more than a product."""
    if config.get("peft_type") != "LORA":
        raise ModelUnsupported(f"an adapter of the kind {str(config.get('peft_type'))[:40]} cannot be merged.", _PEFT)
    if used := [key for key in CANNOT if config.get(key)]:
        raise ModelUnsupported(f"an adapter with {used[0]} cannot be merged here.", _PEFT)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or not 0 < rank <= 4096:
        raise ModelDamaged(f"{CONFIG} has r = {rank!r} and lora_alpha = {alpha!r}.", "Get the adapter again.")
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


_PEFT = "Merge it with peft first (merge_and_unload), then export the result."


def _merged(name: str, tensors: Mapping[str, Tensor], found: Mapping[str, Tensor], pair: str, scale: float) -> Merged:
    base = tensors.get(name)
    down, up = found.get(f"{pair}.lora_A.weight"), found.get(f"{pair}.lora_B.weight")
    if base is None or down is None or up is None:
        raise ModelDamaged(f"the adapter does not fit: {name[:80]} lacks its matrix or one of A and B.", _OTHER)
    if len(base.shape) != 2 or (up.shape, down.shape) != ((base.shape[0], down.shape[0]), (up.shape[1], base.shape[1])):
        raise ModelDamaged(f"the adapter does not fit {name[:80]} of the shape {base.shape}.", _OTHER)
    return Merged(base.name, base.dtype, base.shape, base.file, base.start, base.size, down, up, scale)


_OTHER = "It belongs to another checkpoint."


def floats(tensor: Tensor) -> NDArray[np.float32]:
    """The tensor in 32 bits."""
    return as_floats(tensor.read(), tensor.dtype)


def as_floats(values: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Bits of a stored type as 32-bit floats (a new array)."""
    if dtype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


def from_floats(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Rounded to the nearest value of the type, ties to even, as torch does."""
    if dtype != "BF16":
        return values.astype({"F32": np.float32, "F16": np.float16}[dtype])
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
