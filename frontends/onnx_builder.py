"""What a rewrite of an ONNX node works with: the node, what is known about its operands, and the nodes that replace it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, TypeProto, helper

from sparsec.frontends.onnx_graph import OnnxGraph
from sparsec.frontends.onnx_refusal import unsupported
from sparsec.frontends.onnx_shapes import static_shape


@dataclass(slots=True)
class Builder:
    """Collects the nodes that replace one node; new values and constants are named after it."""

    graph: OnnxGraph
    node: NodeProto
    types: Mapping[str, TypeProto]
    nodes: list[NodeProto] = field(default_factory=list)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The static shape of a value."""
        if name in self.graph.constants:
            return self.graph.constants[name].shape
        return static_shape(self.types.get(name))

    def element(self, name: str) -> int:
        """The `TensorProto` element type of a value, 0 when unknown."""
        if name in self.graph.constants:
            return int(helper.np_dtype_to_tensor_dtype(self.graph.constants[name].dtype))
        return int(self.types[name].tensor_type.elem_type) if name in self.types else 0

    def attribute(self, name: str, default: object = None) -> object:
        """An attribute of the node, or `default`."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return default if found is None else helper.get_attribute_value(found)

    def ints(self, name: str, default: list[int]) -> list[int]:
        """An integer-list attribute of the node, or `default`."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return default if found is None else [int(i) for i in found.ints]

    def input(self, index: int) -> str:
        """The name of an operand, "" when it is absent."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def constant(self, stem: str, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        """A new constant; returns its name."""
        name = f"{self.node.name}/{stem}"
        self.graph.constants[name] = value
        return name

    def emit(self, op: str, *inputs: str, to: str | None = None, attributes: Mapping[str, object] | None = None) -> str:
        """Append a node of one result, named `to` or afresh; returns the result's name."""
        name = f"{self.node.name}/{op}.{len(self.nodes)}"
        result = to or name
        node = helper.make_node(op, list(inputs), [result], name=name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in (attributes or {}).items())
        self.nodes.append(node)
        return result

    def reduce(self, op: str, x: str, axes: list[int]) -> str:
        """A reduction over `axes` that keeps them, in the form that the model's operator set has."""
        moved_in = 13 if op == "ReduceSum" else 18
        if self.graph.opset >= moved_in:
            return self.emit(op, x, self.whole(*axes), attributes={"keepdims": 1})
        return self.emit(op, x, attributes={"axes": axes, "keepdims": 1})

    def number(self, value: float, element: int) -> str:
        """A new scalar constant of a `TensorProto` element type; equal ones share a name."""
        array = np.array(value, helper.tensor_dtype_to_np_dtype(element))
        return self.constant(f"{array.dtype}.{array}", array)

    def whole(self, *values: int) -> str:
        """A constant int64 vector (axes, shapes); equal ones share a name."""
        return self.constant("ints." + ",".join(map(str, values)), np.array(values, np.int64))

    def cast(self, x: str, element: int, to: str | None = None) -> str:
        """The value as another element type."""
        return self.emit("Cast", x, to=to, attributes={"to": element})

    def reshape(self, x: str, shape: Sequence[int], to: str | None = None) -> str:
        """The value in another shape, where -1 is what is left and zeros are zeros."""
        zeros = {"allowzero": 1} if 0 in shape else {}
        return self.emit("Reshape", x, self.whole(*shape), to=to, attributes=zeros)

    def array(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
        """The value of a constant; None when it is absent, computed or sparse."""
        value = self.graph.constants.get(name) if name else None
        return value if isinstance(value, np.ndarray) else None

    def real(self, name: str, default: float) -> float:
        """A float attribute of the node, or `default`."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return default if found is None else float(found.f)

    def integer(self, name: str, default: int) -> int:
        """An integer attribute of the node, or `default`."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return default if found is None else int(found.i)

    def word(self, name: str, default: str) -> str:
        """A string attribute of the node, or `default`."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return default if found is None else found.s.decode(errors="replace")

    def without(self, *names: str, **attributes: object) -> list[NodeProto]:
        """The nodes so far and the node itself, with the attributes `names` gone and `attributes` instead."""
        kept = [a for a in self.node.attribute if a.name not in (*names, *attributes)]
        del self.node.attribute[:]
        self.node.attribute.extend([*kept, *(helper.make_attribute(key, value) for key, value in attributes.items())])
        return [*self.nodes, self.node]

    def forget(self, name: str) -> None:
        """Drop the shapes that the model states for a result and for what is computed from it; they are inferred anew."""
        stale = self.graph.reached_from(name)
        for value in (*self.graph.graph.output, *self.graph.graph.value_info):
            if value.name in stale:
                value.type.tensor_type.ClearField("shape")

    def refuse(self, reason: str) -> Exception:
        """The error to raise when the node cannot be expressed."""
        return unsupported(self.graph, self.types, self.node.name, reason)

    def floats(self, name: str) -> list[float]:
        """A float-list attribute of the node, empty by default."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return [] if found is None else [float(value) for value in found.floats]
