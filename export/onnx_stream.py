"""An ONNX folder filled matrix by matrix: the model builder makes the graph of a network whose matrices have one row
each, then the real ones go through the builder's own quantizer, some rows at a time, to their places in the data file.

Memory holds one matrix as it is stored, never the model. What is written is what the builder writes, byte for byte.
Home of onnx_ir; knows no file of the builder but the graph and its data.
"""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgemem.errors import EngineFailed

from .apart import Progress
from .architecture import Network
from .checkpoint import Checkpoint, Tensor
from .lora import Merged, as_floats, floats

EMBEDDING, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
GRAPH, DATA, SMALL = "model.onnx", "model.onnx.data", "model.onnx.small"
PRODUCTS = ("attn.qkv_proj", "attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
"""Of a layer, as the builder names them for what we export."""
CHUNK_ELEMENTS = 1 << 20
"""Weights that are quantized at once."""
CHUNK_BYTES = CHUNK_ELEMENTS * 64
"""What the quantizer's copies of them take."""
Block = tuple[str, int, NDArray[Any]]
"""Of an initializer: its name, the first row, and the rows."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight of the graph: matrices of the checkpoint one below the other, `rows` x `columns` together. A product has
    it `turned`, the embedding as it is."""

    parts: tuple[Tensor, ...]
    rows: int
    columns: int
    turned: bool

    @property
    def shape(self) -> tuple[int, int]:
        """In the graph, before it is quantized."""
        return (self.columns, self.rows) if self.turned else (self.rows, self.columns)

    @property
    def widened(self) -> bool:
        """Whether it is held in 32 bits: with an adapter, since the sum is not rounded, or of several types."""
        merged = any(isinstance(part, Merged) for part in self.parts)
        return merged or len({part.dtype for part in self.parts}) > 1

    @property
    def held_bytes(self) -> int:
        """Most memory for `held`: the parts and, where there are several, all of them together."""
        sizes = [part.elements * 8 if self.widened else part.size for part in self.parts]
        return sum(sizes) * (2 if len(sizes) > 1 else 1)

    def held(self) -> tuple[NDArray[Any], str]:
        """The values (rows x columns) and their type."""
        if self.widened:
            values = [part.summed() if isinstance(part, Merged) else floats(part) for part in self.parts]
        else:
            values = [part.read() for part in self.parts]
        together = values[0] if len(values) == 1 else np.concatenate(values)
        return together, "F32" if self.widened else self.parts[0].dtype


def part_names(weight: str, tied: bool) -> list[str]:
    """What a weight of the builder's graph is made of, by names in the checkpoint; nothing for other initializers."""
    if weight == EMBEDDING:
        return [EMBEDDING]
    if weight == "lm_head.MatMul.weight":
        return [EMBEDDING if tied else OUTPUT]
    found = re.fullmatch(r"(model\.layers\.\d+)\.(attn|mlp)\.(\w+)\.MatMul\.weight", weight)
    if found is None:
        return []
    layer, part, name = found.groups()
    names = ("q_proj", "k_proj", "v_proj") if name == "qkv_proj" else (name,)
    return [f"{layer}.{'self_attn' if part == 'attn' else part}.{one}.weight" for one in names]


def matrices(names: Iterable[str], checkpoint: Checkpoint, network: Network) -> dict[str, Matrix]:
    """The weights among the initializers called `names`, in their order. Raises KeyError for one without a tensor."""
    found = {}
    for name in names:
        parts = tuple(checkpoint.tensors[part] for part in part_names(name, network.tied))
        if parts:
            found[name] = Matrix(parts, sum(part.shape[0] for part in parts), parts[0].shape[1], name != EMBEDDING)
    return found


def ram_bytes(checkpoint: Checkpoint, network: Network) -> int:
    """Estimate of what `fill` takes: the largest matrix, and the positions with the copy that writing them makes."""
    layers = (f"model.layers.{layer}.{part}.MatMul.weight" for layer in range(network.layers) for part in PRODUCTS)
    found = matrices((EMBEDDING, "lm_head.MatMul.weight", *layers), checkpoint, network)
    positions = network.context_tokens * network.head * 4
    return CHUNK_BYTES + max(matrix.held_bytes for matrix in found.values()) + 2 * positions


def shrink(built: Any, found: Mapping[str, Matrix]) -> None:
    """Give the graph of the builder's object `built` one row of zeros for each of its matrices.

    Raises EngineFailed where the graph's shapes are not the checkpoint's.
    """
    ir: Any = import_module("onnx_ir")
    for name, matrix in found.items():
        value = built.model.graph.initializers[name]
        there = tuple(value.const_value.shape)
        if there != matrix.shape:
            raise EngineFailed(f"the model builder has {name} as {there}, not {matrix.shape}", "report this")
        one = (matrix.columns, 1) if matrix.turned else (1, matrix.columns)
        value.const_value = ir.tensor(np.zeros(one, np.float32), name=name)


def fill(built: Any, found: Mapping[str, Matrix], out: Path, report: Progress) -> None:
    """Write the matrices `found` into the folder `out`, where `built` saved its graph after `shrink`.

    Raises OSError, ModelDamaged, EngineFailed, and what the builder's quantizer raises.
    """
    ir: Any = import_module("onnx_ir")
    model = ir.load(out / GRAPH)
    products = _quantized_products(ir, model.graph, found)
    (out / DATA).replace(out / SMALL)
    with (out / SMALL).open("rb") as small, (out / DATA).open("wb") as data:
        shapes = _shapes(found, products)
        offsets = _lay_out(ir, model.graph, shapes, small, data)
        written = 0
        gc.freeze()  # what torch and the builder hold, else every collection looks at 400,000 objects
        for number, (weight, matrix) in enumerate(found.items(), 1):
            for name, row, values in _blocks(built, weight, matrix, products.get(weight)):
                data.seek(offsets[name] + row * (values.nbytes // len(values)))
                data.write(values.data)
                written += values.size
            report("write", number, len(found))
        gc.unfreeze()
    if written != sum(map(math.prod, shapes.values())):
        raise EngineFailed("the model builder's quantizer left out some weights", "report this")
    (out / SMALL).unlink()
    ir.save(model, out / GRAPH)


def _quantized_products(ir: Any, graph: Any, found: Mapping[str, Matrix]) -> dict[str, Any]:
    """The products that were quantized by the weight that they had; they get their real number of rows."""
    products = {}
    for node in graph:
        if node.op_type == "MatMulNBits":
            weight = node.inputs[1].name.rpartition("_")[0]
            node.attributes["N"] = ir.AttrInt64("N", found[weight].rows)
            products[weight] = node
    return products


def _shapes(found: Mapping[str, Matrix], products: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Real shapes of the initializers that have one row so far."""
    shapes: dict[str, tuple[int, ...]] = {}
    for weight, matrix in found.items():
        if weight in products:
            for value in products[weight].inputs[1:]:
                shapes[value.name] = (matrix.rows, *map(int, value.const_value.shape[1:]))
        else:
            shapes[weight] = matrix.shape
    return shapes


def _lay_out(
    ir: Any, graph: Any, shapes: Mapping[str, tuple[int, ...]], small: BinaryIO, data: BinaryIO
) -> dict[str, int]:
    """Give every initializer its place in `data`, in order and without gaps as the builder does, and its real shape;
    copy those that have it already. Returns the offsets in bytes."""
    offsets, end = {}, 0
    for name, value in graph.initializers.items():
        have = value.const_value
        shape = shapes.get(name, tuple(map(int, have.shape)))
        length = int(math.prod(shape) * have.dtype.itemsize)
        if name not in shapes:
            small.seek(have.offset)
            data.seek(end)
            data.write(small.read(length))
        value.shape = ir.Shape(shape)
        value.const_value = ir.ExternalTensor(
            DATA, end, length, have.dtype, shape=value.shape, name=name, base_dir=have.base_dir
        )
        offsets[name] = end
        end += length
    return offsets


def _blocks(built: Any, weight: str, matrix: Matrix, product: Any) -> Iterator[Block]:
    """The matrix as the graph has it: quantized where `product` is, in 32 bits otherwise."""
    values, dtype = matrix.held()
    if matrix.turned and product is None:
        step = max(1, CHUNK_ELEMENTS // matrix.rows)
        for start in range(0, matrix.columns, step):
            yield weight, start, np.ascontiguousarray(as_floats(values[:, start : start + step], dtype).T)
        return
    step = max(1, CHUNK_ELEMENTS // matrix.columns)
    for start in range(0, matrix.rows, step):
        rows = as_floats(values[start : start + step], dtype)
        if product is None:
            yield weight, start, rows
        else:
            yield from ((name, start, part) for name, part in _quantize(built, weight, rows, product.name))


def _quantize(built: Any, weight: str, rows: NDArray[np.float32], product: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """What the builder makes of some rows of a weight: initializers by name, each with as many rows."""
    ir: Any = import_module("onnx_ir")
    kind = ir.TensorType(ir.DataType.FLOAT)
    given, output = ir.Value(name="given", type=kind, shape=ir.Shape(["n", rows.shape[1]])), ir.Value(name="output")
    constant = ir.tensor(np.ascontiguousarray(rows.T), name=weight)
    value = ir.Value(name=weight, type=kind, shape=constant.shape, const_value=constant)
    node = ir.node("MatMul", inputs=[given, value], outputs=[output], name=product.rpartition("_")[0])
    opsets = dict(built.model.graph.opset_imports)
    graph = ir.Graph([given], [output], nodes=[node], initializers=[value], opset_imports=opsets, name="one")
    built.model = ir.Model(graph, ir_version=built.model.ir_version)
    for name, made in built.to_nbits().graph.initializers.items():
        yield name, np.ascontiguousarray(made.const_value.numpy())
    gc.collect()  # graphs are cycles, and would keep their weights for some hundred pieces more
