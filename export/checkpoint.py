"""A Hugging Face checkpoint folder: its configuration, and where each tensor lies in its safetensors files.

Reads headers only; a tensor's bytes are read when asked for, one tensor at a time. Pickle files are never opened.
Knows no architecture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from edgemem.errors import InvalidInput, ModelDamaged, ModelUnsupported

INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
MAX_JSON_BYTES = 64 << 20
"""Largest JSON that is read: tokenizer.json of a vocabulary of 256 k is about 30 MB."""
FLOATS: dict[str, type[np.generic]] = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
"""Types that weights may have, and the numpy type that holds their bits."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor on disk: `start` and `size` are its bytes in `file`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size: int

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def read(self) -> NDArray[Any]:
        """The tensor's bits in its shape (bfloat16 as uint16). Raises ModelDamaged when the file ends early."""
        kind = FLOATS[self.dtype]
        with self.file.open("rb") as file:
            file.seek(self.start)
            values: NDArray[Any] = np.fromfile(file, kind, self.elements)
        if values.nbytes != self.size:
            raise ModelDamaged(f"{self.file.name} ends within the tensor {self.name}.", "Get the file again.")
        return values.reshape(self.shape)


@dataclass(frozen=True)
class Checkpoint:
    """A folder with weights. `config` is its config.json."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def files(self) -> list[Path]:
        """The files with weights, in the order of names."""
        return sorted({tensor.file for tensor in self.tensors.values()})

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors.values())

    @cached_property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read the headers of the checkpoint in `folder`.

    Raises InvalidInput (no such folder, no config.json), ModelDamaged (a shard or tensor is missing or cut off) and
    ModelUnsupported (pickle files only, weights that are quantized already).
    """
    if not folder.is_dir():
        raise InvalidInput(f"there is no folder {folder}", "give the folder of a checkpoint (with config.json)")
    if not (folder / "config.json").is_file():
        raise InvalidInput(f"{folder} has no config.json", "give the folder of a Hugging Face checkpoint")
    config = read_json(folder / "config.json")
    tensors = {tensor.name: tensor for file in _weight_files(folder) for tensor in tensors_of(file)}
    _check_index(folder, tensors)
    if "quantization_config" in config:
        raise ModelUnsupported(
            f"{folder.name} is quantized already ({_method(config)}).",
            "Export from the original weights: quantizing twice loses quality and cannot be measured.",
        )
    return Checkpoint(folder, config, tensors)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ModelDamaged."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelDamaged(f"{path.name} has more than {MAX_JSON_BYTES >> 20} MiB.", "Get the checkpoint again.")
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelDamaged(f"{path.name} cannot be read: {error}.", "Get the checkpoint again.") from error
    if not isinstance(found, dict):
        raise ModelDamaged(f"{path.name} holds no object.", "Get the checkpoint again.")
    return found


def _method(config: dict[str, Any]) -> str:
    how = config["quantization_config"]
    return str(how.get("quant_method", "unknown method") if isinstance(how, dict) else how)[:40]


def _weight_files(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        weights = _weight_map(folder)
        names = sorted(set(weights.values()))
        if wrong := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
            raise ModelDamaged(f"{INDEX} names the file {wrong[0]!r}.", "Get the checkpoint again.")
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise ModelDamaged(
                f"{len(missing)} of {len(names)} files with weights are missing: {', '.join(missing[:3])}.",
                "Download the checkpoint again; what is there is kept.",
            )
        return [folder / name for name in names]
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return files
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise ModelUnsupported(
            f"{folder.name} has its weights in pickle files only ({pickles[0]}): opening one runs code of its author.",
            "Get the safetensors form of the checkpoint, or convert it on a machine that you do not need.",
        )
    raise ModelDamaged(f"{folder.name} has no *.safetensors file.", "Give the folder that holds the weights.")


def _weight_map(folder: Path) -> dict[str, str]:
    weights = read_json(folder / INDEX).get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()) or not weights:
        raise ModelDamaged(f"{INDEX} has no weight_map.", "Get the checkpoint again.")
    return weights


def _check_index(folder: Path, tensors: dict[str, Tensor]) -> None:
    if (folder / INDEX).is_file():
        absent = sorted(set(_weight_map(folder)) - set(tensors))
        if absent:
            raise ModelDamaged(
                f"{len(absent)} tensors that {INDEX} lists are in no file, {absent[0]} among them.",
                "Download the checkpoint again.",
            )


def tensors_of(path: Path) -> Iterator[Tensor]:
    """The tensors of one file. The library checks that header, offsets and length agree; then the offsets are read."""
    try:
        with safe_open(path, framework="np"):
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelDamaged(f"{path.name} is no sound safetensors file: {error}.", "Download it again.") from error
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in FLOATS:
            raise ModelUnsupported(
                f"the tensor {name} is of the type {entry['dtype']}.", f"Weights may be {', '.join(FLOATS)}."
            )
        start, end = entry["data_offsets"]
        yield Tensor(name, entry["dtype"], tuple(entry["shape"]), path, 8 + length + start, end - start)
