"""What an expansion of a node works with before shapes are known: the node, and the nodes that replace it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count

import numpy as np
from onnx import NodeProto, TensorProto, TypeProto, helper

from sparsec.frontends.onnx_graph import OnnxGraph


class Expansion:
    """The nodes that replace one; new values are named after its first result.

    `types` gives what ONNX infers of the graph with all such nodes in it: asked by few, and the same for all.
    """

    def __init__(self, graph: OnnxGraph, node: NodeProto, types: Callable[[], Mapping[str, TypeProto]]) -> None:
        self.graph = graph
        self.node = node
        self._types = types
        self.nodes: list[NodeProto] = []
        self._numbers: Iterator[int] = count()

    def input(self, index: int) -> str:
        """The name of an operand, "" when it is absent."""
        return self.node.input[index] if index < len(self.node.input) else ""

    @property
    def output(self) -> str:
        return str(self.node.output[0])

    def attribute(self, name: str, default: object) -> object:
        found = next((a for a in self.node.attribute if a.name == name), None)
        return default if found is None else helper.get_attribute_value(found)

    def kept(self, *names: str) -> dict[str, object]:
        """Those of the node's attributes that it has."""
        return {a.name: helper.get_attribute_value(a) for a in self.node.attribute if a.name in names}

    def emit(self, op: str, inputs: Sequence[str], to: str = "", attributes: Mapping[str, object] | None = None) -> str:
        """Append a node of one result, named `to` or afresh; returns the result's name."""
        name = f"{self.output}/{op}.{next(self._numbers)}"
        node = helper.make_node(
            op, list(inputs), [to or name], name=self.node.name if to else f"{self.node.name}/{name}"
        )
        node.attribute.extend(helper.make_attribute(key, value) for key, value in (attributes or {}).items())
        self.nodes.append(node)
        return to or name

    def real(self, x: str, scale: str, zero: str, axis: int | None = None) -> str:
        """The dequantised value."""
        along = {} if axis is None else {"axis": axis}
        return self.emit("DequantizeLinear", [x, scale, zero] if zero else [x, scale], attributes=along)

    def quantised(self, value: str, scale: str, zero: str, like: str) -> None:
        """The result, in codes; without a zero point, in those of the type of the codes `like`."""
        if not zero and self.inferred_element(like) == TensorProto.INT8:
            zero = self.constant("zero", np.zeros((), np.int8))
        self.emit("QuantizeLinear", [value, scale, zero] if zero else [value, scale], self.output)

    def number(self, value: float) -> str:
        """A scalar constant of float32; equal ones share a name."""
        return self.constant(str(value), np.array(value, np.float32))

    def whole(self, *values: int) -> str:
        """A constant int64 vector (axes, shapes); equal ones share a name."""
        return self.constant("ints." + ",".join(map(str, values)), np.array(values, np.int64))

    def constant(self, stem: str, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        """A new constant, named after the result; returns its name."""
        name = f"{self.output}/{stem}"
        self.graph.constants[name] = value
        return name

    def array(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
        """The value of a constant; None when it is absent, computed or sparse."""
        value = self.graph.constants.get(name) if name else None
        return value if isinstance(value, np.ndarray) else None

    def integer(self, name: str, default: int) -> int:
        """An attribute that is a whole number."""
        return int(str(self.attribute(name, default)))

    def real_attribute(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        return float(str(self.attribute(name, default)))

    def mean(self, x: str) -> str:
        """Along the last axis, which stays, in the form that the model's operator set has."""
        if self.graph.opset >= 18:
            return self.emit("ReduceMean", [x, self.whole(-1)])
        return self.emit("ReduceMean", [x], attributes={"axes": [-1]})

    def last_sum(self, x: str) -> str:
        """The sum along the last axis, which goes."""
        if self.graph.opset >= 13:
            return self.emit("ReduceSum", [x, self.whole(-1)], attributes={"keepdims": 0})
        return self.emit("ReduceSum", [x], attributes={"axes": [-1], "keepdims": 0})

    def counted(self, x: str) -> str:
        """0, 1, 2, ... along the second axis of a value."""
        zero, one = (self.constant(f"int.{number}", np.array(number)) for number in (0, 1))
        return self.emit("Range", [zero, self.emit("Gather", [self.emit("Shape", [x]), one]), one])

    def part(self, x: str, begin: int, end: int) -> str:
        """What lies from `begin` to before `end` along the last axis."""
        return self.emit("Slice", [x, self.whole(begin), self.whole(end), self.whole(-1)])

    def inferred_rank(self, name: str) -> int | None:
        """The number of axes of a value, as far as ONNX's inference comes; None where it does not."""
        if name in self.graph.constants:
            return len(self.graph.constants[name].shape)
        type_ = self._types().get(name)
        return len(type_.tensor_type.shape.dim) if type_ is not None else None

    def inferred_element(self, name: str) -> int:
        """The `TensorProto` element type of a value, 0 where ONNX's inference does not come."""
        if name in self.graph.constants:
            return int(helper.np_dtype_to_tensor_dtype(self.graph.constants[name].dtype))
        type_ = self._types().get(name)
        return int(type_.tensor_type.elem_type) if type_ is not None else 0
