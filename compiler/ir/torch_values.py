"""Reading and building values of the torch dialect: constant scalars and lists, tensor types, the casts to builtin tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.weights import (
    TO_TORCH_OP,
    WEIGHT_OP,
    Weight,
    WeightStore,
    dense_attribute,
    weight_name,
    weight_op,
    weight_types,
)

FROM_TORCH_OP = "torch_c.to_builtin_tensor"
_DTYPES = {
    "ui8": 0,
    "si8": 1,
    "si16": 2,
    "si32": 3,
    "si64": 4,
    "f16": 5,
    "f32": 6,
    "f64": 7,
    "bf16": 15,
}  # torch's numbers of element types
_SCALARS = ("torch.constant.int", "torch.constant.float", "torch.constant.bool")


def definition(value: ir.Value) -> ir.Operation | None:
    """The op that computes `value`; None for a block argument."""
    return value.owner.operation if isinstance(value.owner, (ir.Operation, ir.OpView)) else None


def scalar(value: ir.Value) -> int | float | bool | None:
    """The Python value of a `torch.constant.*`; None if it is not constant (or is `torch.constant.none`)."""
    op = definition(value)
    if op is None or op.name not in _SCALARS:
        return None
    attribute = op.attributes["value"]
    if isinstance(attribute, ir.BoolAttr):
        return bool(ir.BoolAttr(attribute).value)
    if isinstance(attribute, ir.IntegerAttr):
        return int(attribute.value)
    return float(ir.FloatAttr(attribute).value)


def integer_list(value: ir.Value) -> tuple[int, ...] | None:
    """The value of a `torch.prim.ListConstruct` of constant integers; None if any is not constant."""
    op = definition(value)
    if op is None or op.name != "torch.prim.ListConstruct":
        return None
    items = [scalar(operand) for operand in op.operands]
    return tuple(int(item) for item in items if item is not None) if None not in items else None


def is_none(value: ir.Value) -> bool:
    op = definition(value)
    return op is not None and op.name == "torch.constant.none"


def weight_of(value: ir.Value) -> str | None:
    """The name of the weight behind a torch value (`sparsec.weight` and its cast); None if it is no weight."""
    cast = definition(value)
    if cast is None or cast.name != TO_TORCH_OP:
        return None
    op = definition(cast.operands[0])
    return weight_name(op) if op is not None and op.name == WEIGHT_OP else None


_VTENSOR = re.compile(r"!torch\.vtensor<\[([\d,]*)\],([a-z]+\d+)(?:,.*)?>")


def tensor_shape(value: ir.Value) -> tuple[int, ...] | None:
    """The static shape of a `!torch.vtensor` value; None if it is not static."""
    match = _VTENSOR.fullmatch(str(value.type))
    return tuple(int(size) for size in match[1].split(",") if size) if match else None


def tensor_element(value: ir.Value) -> str | None:
    """The element type of a `!torch.vtensor` value as torch spells it (f32, si64, …); None if it has none."""
    match = _VTENSOR.fullmatch(str(value.type))
    return match[2] if match else None


def tensor_type(shape: Sequence[int], element: str, context: ir.Context) -> ir.Type:
    return ir.Type.parse(f"!torch.vtensor<[{','.join(map(str, shape))}],{element}>", context)


class TorchBuilder:
    """Builds torch-dialect ops before `op`, with its location or another."""

    def __init__(self, op: ir.Operation, location: ir.Location | None = None) -> None:
        self.op = op
        self.location = location or op.location
        self.context = op.context

    def create(
        self,
        name: str,
        results: Sequence[ir.Type],
        operands: Sequence[ir.Value] = (),
        attributes: Mapping[str, ir.Attribute] | None = None,
    ) -> ir.Value:
        return ir.Operation.create(
            name,
            results=list(results),
            operands=list(operands),
            attributes=dict(attributes or {}),
            loc=self.location,
            ip=ir.InsertionPoint(self.op),
        ).results[0]

    def literal(self, array: NDArray[np.generic]) -> ir.Value:
        """`torch.vtensor.literal`: a constant inside the module."""
        _, vtensor = weight_types(array, self.context)
        attributes = {"value": dense_attribute(array, self.context)}
        return self.create("torch.vtensor.literal", [vtensor], attributes=attributes)

    def weight(self, store: WeightStore, stem: str, weight: Weight) -> ir.Value:
        """A new weight of a store, under a fresh name made from `stem`."""
        tensor, vtensor = weight_types(weight, self.context)
        return weight_op(store.add(stem, weight), tensor, vtensor, loc=self.location, ip=ir.InsertionPoint(self.op))

    def integer(self, value: int) -> ir.Value:
        attribute = ir.IntegerAttr.get(ir.IntegerType.get_signless(64, self.context), value)
        return self.create("torch.constant.int", [self._torch("int")], attributes={"value": attribute})

    def integers(self, values: Sequence[int]) -> ir.Value:
        items = [self.integer(value) for value in values]
        return self.create("torch.prim.ListConstruct", [self._torch("list<int>")], items)

    def none(self) -> ir.Value:
        return self.create("torch.constant.none", [self._torch("none")])

    def boolean(self, value: bool) -> ir.Value:
        attribute = ir.IntegerAttr.get(ir.IntegerType.get_signless(1, self.context), value)
        return self.create("torch.constant.bool", [self._torch("bool")], attributes={"value": attribute})

    def view(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """`torch.aten.view`: the same elements in another shape."""
        element = tensor_element(value)
        assert element is not None
        return self.create(
            "torch.aten.view", [tensor_type(shape, element, self.context)], [value, self.integers(shape)]
        )

    def slice(self, value: ir.Value, axis: int, begin: int, end: int) -> ir.Value:
        """`torch.aten.slice.Tensor`: what lies from `begin` to before `end` along an axis."""
        shape, element = list(tensor_shape(value) or ()), tensor_element(value)
        assert element is not None
        shape[axis] = end - begin
        bounds = [self.integer(number) for number in (axis, begin, end, 1)]
        return self.create("torch.aten.slice.Tensor", [tensor_type(shape, element, self.context)], [value, *bounds])

    def add(self, left: ir.Value, right: ir.Value, result: ir.Type) -> ir.Value:
        return self.create("torch.aten.add.Tensor", [result], [left, right, self.integer(1)])

    def subtract(self, left: ir.Value, right: ir.Value, result: ir.Type) -> ir.Value:
        return self.create("torch.aten.sub.Tensor", [result], [left, right, self.integer(1)])

    def multiply(self, left: ir.Value, right: ir.Value, result: ir.Type) -> ir.Value:
        return self.create("torch.aten.mul.Tensor", [result], [left, right])

    def cast(self, value: ir.Value, element: str) -> ir.Value:
        """`torch.aten.to.dtype`: the value with the element type as torch spells it (f32, ui8, …)."""
        type_ = tensor_type(tensor_shape(value) or (), element, self.context)
        no = self.boolean(False)
        operands = [value, self.integer(_DTYPES[element]), no, no, self.none()]
        return self.create("torch.aten.to.dtype", [type_], operands)

    def to_builtin(self, value: ir.Value) -> ir.Value:
        """The value as a builtin tensor, through `torch_c.to_builtin_tensor` or the cast that made it."""
        cast = definition(value)
        if cast is not None and cast.name == TO_TORCH_OP:
            return cast.operands[0]
        shape, element = tensor_shape(value), tensor_element(value)
        assert shape is not None
        assert element is not None
        signless = element.removeprefix("s").removeprefix("u")
        builtin = ir.RankedTensorType.get(shape, ir.Type.parse(signless, self.context), loc=self.location)
        return self.create(FROM_TORCH_OP, [builtin], [value])

    def from_builtin(self, value: ir.Value, torch_type: ir.Type) -> ir.Value:
        return self.create(TO_TORCH_OP, [torch_type], [value])

    def _torch(self, name: str) -> ir.Type:
        return ir.Type.parse(f"!torch.{name}", self.context)
