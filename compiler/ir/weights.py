"""The side store of weights, and the ops that stand for them in a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.coo import Coo, as_dense

Weight = NDArray[np.generic] | Coo

WEIGHT_OP = "sparsec.weight"
TO_TORCH_OP = "torch_c.from_builtin_tensor"


class WeightStore(MutableMapping[str, Weight]):
    """Name -> array or `Coo`, in the order of insertion; arrays may be memory-mapped and are never written to."""

    def __init__(self, weights: Mapping[str, Weight] | None = None) -> None:
        self._weights: dict[str, Weight] = {}
        self.update(weights or {})

    def __getitem__(self, name: str) -> Weight:
        return self._weights[name]

    def __setitem__(self, name: str, weight: Weight) -> None:
        if not isinstance(weight, (np.ndarray, Coo)):
            raise TypeError(f"weight {name!r} is a {type(weight).__name__}, not an array or Coo")
        self._weights[name] = weight

    def __delitem__(self, name: str) -> None:
        del self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def dense(self, name: str) -> NDArray[np.generic]:
        """The weight as an array; a `Coo` is decoded into a new one."""
        return as_dense(self._weights[name])

    def fresh(self, stem: str) -> str:
        """A name that is not taken: `stem`, or `stem.1`, `stem.2`, …"""
        name, count = stem, 0
        while name in self._weights:
            count += 1
            name = f"{stem}.{count}"
        return name

    def add(self, stem: str, weight: Weight) -> str:
        """Store under a fresh name made from `stem`, and return that name."""
        name = self.fresh(stem)
        self[name] = weight
        return name


def weight_op(
    name: str, tensor: ir.Type, vtensor: ir.Type | None, *, loc: ir.Location, ip: ir.InsertionPoint
) -> ir.Value:
    """Build the op of weight `name` (its builtin type is `tensor`) at `ip`; with `vtensor`, also the cast to that type.

    Returns the value to use: the cast's result, or the op's own when `vtensor` is None.
    """
    attributes = {"sym_name": ir.StringAttr.get(name, context=tensor.context)}
    op = ir.Operation.create(WEIGHT_OP, results=[tensor], attributes=attributes, loc=loc, ip=ip)
    if vtensor is None:
        return op.results[0]
    cast = ir.Operation.create(TO_TORCH_OP, results=[vtensor], operands=[op.results[0]], loc=loc, ip=ip)
    return cast.results[0]


def weight_name(op: ir.Operation) -> str:
    """The name under which the bytes of a `sparsec.weight` op are stored."""
    return str(ir.StringAttr(op.attributes["sym_name"]).value)


def find_weights(module: ir.Module) -> list[ir.Operation]:
    """All `sparsec.weight` ops of the module, in program order."""
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        found.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(lambda op: visit(op) if op.name == WEIGHT_OP else ir.WalkResult.ADVANCE)
    return found


_ELEMENT_TYPES = {
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "f32",
    "float64": "f64",
    "bool": "i1",
    "complex64": "complex<f32>",
    "complex128": "complex<f64>",
}


def builtin_element(dtype: np.dtype[np.generic]) -> str:
    """The builtin (signless) MLIR element type of a dtype, as text: float32 -> f32, uint8 -> i8, bool -> i1."""
    name = dtype.name
    if name.startswith(("int", "uint")):
        return "i" + name.lstrip("uint")
    return _ELEMENT_TYPES.get(name, "f8" + name.removeprefix("float8_").upper().replace("_", ""))


def torch_element(dtype: np.dtype[np.generic]) -> str:
    """The element type inside `!torch.vtensor` of a dtype, as text: int64 -> si64, uint8 -> ui8, float32 -> f32."""
    name = dtype.name
    if name.startswith("uint"):
        return "ui" + name.removeprefix("uint")
    return "si" + name.removeprefix("int") if name.startswith("int") else builtin_element(dtype)


def weight_types(weight: Weight, context: ir.Context) -> tuple[ir.Type, ir.Type]:
    """The builtin and the torch type of a weight: `tensor<2x3xi64>` and `!torch.vtensor<[2,3],si64>`."""
    dims = "".join(f"{dim}x" for dim in weight.shape)
    sizes = ",".join(str(dim) for dim in weight.shape)
    tensor = ir.Type.parse(f"tensor<{dims}{builtin_element(weight.dtype)}>", context)
    return tensor, ir.Type.parse(f"!torch.vtensor<[{sizes}],{torch_element(weight.dtype)}>", context)


def dense_attribute(array: NDArray[np.generic], context: ir.Context) -> ir.DenseElementsAttr:
    """A constant attribute that MLIR and Python can both read, with the signedness that torch types have:
    `tensor<2xsi64>`.
    """
    element = ir.Type.parse(torch_element(array.dtype), context)
    with ir.Location.unknown(context):
        type_ = ir.RankedTensorType.get(array.shape, element)
        return ir.DenseElementsAttr.get(np.frombuffer(array.tobytes(), np.uint8), type=type_)
