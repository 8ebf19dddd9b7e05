"""The working copy of an ONNX graph: its structure as a proto, and all its constants beside it.

The bytes of constants stay out of the proto, so that shape inference and import never copy (or hit protobuf's limit
of 2 GB on) them: small ones are written into it when their values matter to shapes, and large ones appear as graph
inputs that have a type only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from sparsec.errors import ModelError
from sparsec.formats.coo import Coo
from sparsec.frontends.imported import LIFT_ABOVE
from sparsec.frontends.onnx_read import Source
from sparsec.ir.weights import Weight


@dataclass(slots=True)
class OnnxGraph:
    """`model` holds nodes, inputs, outputs and value types, but no initializer.

    `constants` holds every constant by value name.
    """

    model: onnx.ModelProto
    name: str
    folder: Path = Path()
    constants: dict[str, Weight] = field(default_factory=dict)

    @property
    def graph(self) -> GraphProto:
        """The main graph."""
        return self.model.graph

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return next((o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), 1)

    def used_names(self) -> set[str]:
        """Every value name that a node (also one in a subgraph) or an output of the graph reads."""
        return set(_reads(self.graph)) | {output.name for output in self.graph.output}

    def keep_types(self, kept: Callable[[ValueInfoProto], bool]) -> None:
        """Drop what the model states about other values inside it, which is to be inferred."""
        stated = [value for value in self.graph.value_info if kept(value)]
        del self.graph.value_info[:]
        self.graph.value_info.extend(stated)

    def reached_from(self, name: str, beyond: Collection[str] = ()) -> set[str]:
        """The value `name` and all that is computed from it, but not by operators in `beyond`.

        What a nested graph reads is read by its node.
        """
        reached = {name}
        for node in self.graph.node:  # which are in order
            if node.op_type not in beyond and reached.intersection(_reads_of(node)):
                reached.update(node.output)
        return reached

    def prune(self) -> None:
        """Remove nodes and constants that nothing reads."""
        while True:
            used = self.used_names()
            dead = [node for node in self.graph.node if not any(name in used for name in node.output)]
            if not dead:
                break
            keep = [node for node in self.graph.node if any(name in used for name in node.output)]
            del self.graph.node[:]
            self.graph.node.extend(keep)
        self.constants = {name: value for name, value in self.constants.items() if name in used}

    def to_model(self) -> onnx.ModelProto:
        """A model to infer shapes of or to import: small constants as initializers, large ones as further inputs at
        the end.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for name, value in self.constants.items():
            if is_small(value):
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
            else:
                element = helper.np_dtype_to_tensor_dtype(value.dtype)
                model.graph.input.append(helper.make_tensor_value_info(name, element, value.shape))
        return model

    def reload(self, model: onnx.ModelProto) -> None:
        """Take over a model that was made from `to_model()`; the constants in it come beside the present ones."""
        taken = take_constants(Source(model, self.folder, self.name), prune=False)
        large = set(self.constants)
        inputs = [value for value in taken.graph.input if value.name not in large]
        del taken.graph.input[:]
        taken.graph.input.extend(inputs)
        self.model = taken.model
        self.constants = {**taken.constants, **self.constants}
        self.prune()


def is_small(value: Weight) -> bool:
    """Whether the constant stays inside the module."""
    return isinstance(value, np.ndarray) and value.size <= LIFT_ABOVE


def _reads(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from _reads_of(node)


def _reads_of(node: NodeProto) -> Iterator[str]:
    yield from node.input
    for subgraph in subgraphs(node):
        yield from _reads(subgraph)
        yield from (output.name for output in subgraph.output)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs among the attributes of a node (If, Loop, Scan)."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def take_constants(source: Source, *, prune: bool = True) -> OnnxGraph:
    """Move initializers (dense, sparse, external) and Constant nodes of the main graph out of the model."""
    graph = source.model.graph
    taken = OnnxGraph(source.model, source.name, source.folder)
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.STRING:
            taken.constants[tensor.name] = read_tensor(tensor, source.folder)
    for sparse in graph.sparse_initializer:
        taken.constants[sparse.values.name] = read_sparse(sparse, source.folder)
    nodes = []
    for node in graph.node:
        value = read_constant_node(node, source.folder)
        if value is None:
            nodes.append(node)
        else:
            taken.constants[node.output[0]] = value
    strings = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.STRING]
    inputs = [value for value in graph.input if value.name not in taken.constants]
    del graph.initializer[:], graph.sparse_initializer[:], graph.node[:], graph.input[:]
    graph.initializer.extend(strings)
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    if prune:
        taken.prune()
    return taken


def read_constant_node(node: NodeProto, folder: Path) -> Weight | None:
    """The value of a Constant node, or None when the node is not one (or holds strings)."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or not node.attribute:
        return None
    attribute = node.attribute[0]
    match attribute.name:
        case "value":
            return None if attribute.t.data_type == TensorProto.STRING else read_tensor(attribute.t, folder)
        case "sparse_value":
            return read_sparse(attribute.sparse_tensor, folder)
        case "value_float":
            return np.array(attribute.f, dtype=np.float32)
        case "value_floats":
            return np.array(attribute.floats, dtype=np.float32)
        case "value_int":
            return np.array(attribute.i, dtype=np.int64)
        case "value_ints":
            return np.array(attribute.ints, dtype=np.int64)
        case _:
            return None


def read_tensor(tensor: TensorProto, folder: Path) -> NDArray[np.generic]:
    """The array of a tensor; external data is memory-mapped. Raises `ModelError` when bytes are missing."""
    try:
        if tensor.data_location == TensorProto.EXTERNAL:
            return _map_external(tensor, folder)
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OSError, KeyError, OverflowError) as error:
        raise ModelError(f"A constant cannot be read: {error}", where=f"tensor {tensor.name!r}") from error


def _map_external(tensor: TensorProto, folder: Path) -> NDArray[np.generic]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = (folder / entries["location"]).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"external data {entries['location']!r} lies outside the model's folder")
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    shape = tuple(tensor.dims)
    count = int(np.prod(shape, dtype=np.int64))
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1) or count == 0:
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        return np.asarray(numpy_helper.to_array(tensor))
    return np.memmap(path, dtype=dtype, mode="r", offset=int(entries.get("offset", 0)), shape=shape)


def read_sparse(sparse: onnx.SparseTensorProto, folder: Path) -> Coo:
    """A `SparseTensorProto` (linear or coordinate indices, in any order) as `Coo`.

    Raises `ModelError` when it is malformed.
    """
    values = read_tensor(sparse.values, folder).reshape(-1)
    indices = read_tensor(sparse.indices, folder).astype(np.int64)
    shape = tuple(sparse.dims)
    try:
        if indices.ndim <= 1:
            return Coo.from_offsets(shape, indices, values)
        return Coo.from_coordinates(shape, indices, values)
    except ValueError as error:
        raise ModelError(f"A sparse constant is malformed: {error}", where=f"tensor {sparse.values.name!r}") from error
