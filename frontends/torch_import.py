"""Exported programs into the torch dialect: decomposition, and import with the weights lifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, OutputKind
from torch.utils import _pytree as pytree
from torch_mlir import ir
from torch_mlir.extras import fx_importer

from sparsec.errors import UnsupportedOpError, UsageError
from sparsec.frontends.contract import (
    CONTRACT_OPTIONS,
    lift_literals,
    main_function,
    require_static,
    run_pipeline,
    tensor_spec,
)
from sparsec.frontends.given_weights import Known, given_weights
from sparsec.frontends.imported import LIFT_ABOVE, Imported
from sparsec.frontends.torch_decompose import decompose
from sparsec.frontends.torch_export import exported
from sparsec.frontends.torch_weights import array_of, is_sparse, weight_of_tensor
from sparsec.ir.weights import Weight, WeightStore, dense_attribute, weight_op, weight_types

if TYPE_CHECKING:
    from sparsec.frontends.torch import ExampleInputs

PIPELINE = f"func.func(torch-match-quantized-custom-ops),torchdynamo-export-to-torch-backend-pipeline{CONTRACT_OPTIONS}"


def import_program(
    model: nn.Module | ExportedProgram,
    example_inputs: ExampleInputs | None,
    context: ir.Context,
    shapes: Mapping[str, tuple[int, ...]],
    given: Mapping[str, object],
) -> Imported:
    """See `sparsec.frontends.torch.import_torch`."""
    apart = given_weights(given, _known(model), type(model).__name__)
    program, sparse, name = exported(model, example_inputs, shapes)
    apart = {**sparse, **apart}
    program = decompose(program, apart)
    weights = WeightStore()
    hooks = _LiftWeights(weights, apart, program.constants)
    importer = fx_importer.FxImporter(context=context, hooks=hooks)
    importer._cc = _LayerLocations(context, py_attr_tracker=importer._py_attr_tracker)
    try:
        importer.import_program(program, func_name="main")
    except (NotImplementedError, TypeError, ValueError, KeyError, AssertionError) as error:
        raise UnsupportedOpError(f"The exported program cannot be imported: {error}", where=name) from error
    _require_all(given, hooks.seen, name)
    _drop_constant_results(importer.module, program)
    _lower(importer.module, name)
    lift_literals(importer.module, weights)
    require_static(importer.module, _unsupported)
    return _imported(importer.module, program, weights, name)


def _require_all(given: Mapping[str, object], seen: Set[str], name: str) -> None:
    """Refuse given weights that the program does not read, as the second name of tied ones."""
    for unread in sorted(given.keys() - seen):
        raise UsageError(
            f"The program does not read the weight {unread!r}",
            where=name,
            got="a weight that is not used, or the second name of one that is tied to another",
            next_step="give it by its other name",
        )


def _known(model: nn.Module | ExportedProgram) -> Known:
    """Shapes and dtypes of parameters and buffers."""
    state = model.state_dict if isinstance(model, ExportedProgram) else model.state_dict(keep_vars=True)
    types = {dtype: array_of(torch.empty(0, dtype=dtype)).dtype for dtype in {each.dtype for each in state.values()}}
    return {name: (tuple(tensor.shape), types[tensor.dtype]) for name, tensor in state.items()}


def small_literal(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], name: str) -> ir.Value:
    """A `torch.vtensor.literal` whose value passes can read, unlike the resource that the importer would make."""
    with ir.Location.name(name) as loc:
        _, vtensor = weight_types(array, loc.context)
        return ir.Operation.create(
            "torch.vtensor.literal",
            results=[vtensor],
            attributes={"value": dense_attribute(array, loc.context)},
            ip=ir.InsertionPoint.current,
        ).result


class _LiftWeights(fx_importer.FxImporterHooks):  # type: ignore[misc]
    """Builds a weight op for each parameter, buffer and large constant; the bytes go to the store."""

    def __init__(self, weights: WeightStore, apart: Mapping[str, Weight], constants: Mapping[str, object]) -> None:
        self._weights = weights
        self._apart = apart
        self.seen: set[str] = set()
        self._names: dict[int, str] = {}
        self._kept: list[torch.Tensor] = []
        self._constants = {id(value): name for name, value in constants.items()}

    def resolve_input(self, gni: object, value: object, info: fx_importer.InputInfo) -> ir.Value | None:
        return self._resolve(value, str(info.input_spec.target))

    def resolve_literal(self, gni: object, literal: object, info: object) -> ir.Value | None:
        return self._resolve(literal, self._constants.get(id(literal), "constant"))

    def _resolve(self, tensor: object, name: str) -> ir.Value | None:
        if not isinstance(tensor, torch.Tensor):
            return None
        self.seen.add(name)
        if tensor.numel() <= LIFT_ABOVE and name not in self._apart and not is_sparse(tensor):
            return small_literal(array_of(tensor), name)
        if id(tensor) not in self._names:
            weight = self._apart[name] if name in self._apart else weight_of_tensor(tensor)
            self._names[id(tensor)] = self._weights.add(name, weight)
            self._kept.append(tensor)
        name = self._names[id(tensor)]
        with ir.Location.name(name) as loc:
            tensor_type, vtensor = weight_types(self._weights[name], loc.context)
            return weight_op(name, tensor_type, vtensor, loc=loc, ip=ir.InsertionPoint.current)

    def store_produced_value(
        self, gni: object, py_value: object, produced_ir_value: object, info: fx_importer.InputInfo
    ) -> None:
        raise NotImplementedError(f"it writes to the buffer {info.input_spec.target!r}")


class _LayerLocations(fx_importer.ContextCache):  # type: ignore[misc]
    """Gives each op the path of its layer and the name of its node ("encoder.layer.0/softmax") as location."""

    def get_node_location(self, node: torch.fx.Node) -> ir.Location:
        stack = node.meta.get("nn_module_stack") or {}
        path = next((entry[0] for entry in reversed(list(stack.values())) if entry[0]), "")
        return ir.Location.name(f"{path}/{node.name}" if path else node.name, context=self._c)


def _drop_constant_results(module: ir.Module, program: ExportedProgram) -> None:
    """Leave results that are Python constants (None, numbers) out of `@main`."""
    keep = [not isinstance(spec.arg, ConstantArgument) for spec in _user_outputs(program)]
    if all(keep):
        return
    function = main_function(module)
    terminator = function.regions[0].blocks[0].operations[len(function.regions[0].blocks[0].operations) - 1]
    values = [value for value, kept in zip(terminator.operands, keep, strict=True) if kept]
    with module.context, terminator.location:
        ir.Operation.create("func.return", operands=values, ip=ir.InsertionPoint(terminator.operation))
        terminator.operation.erase()
        inputs = [argument.type for argument in function.regions[0].blocks[0].arguments]
        type_ = ir.FunctionType.get(inputs, [value.type for value in values])
        function.attributes["function_type"] = ir.TypeAttr.get(type_)


def _user_outputs(program: ExportedProgram) -> list[torch.export.graph_signature.OutputSpec]:
    return [spec for spec in program.graph_signature.output_specs if spec.kind == OutputKind.USER_OUTPUT]


def _lower(module: ir.Module, name: str) -> None:
    complaints = run_pipeline(module, PIPELINE)
    if complaints:
        first = next((c for c in complaints if c.place), complaints[0])
        raise _unsupported(first.place or name, " | ".join([first.message, *first.notes])[:600])


def _unsupported(place: str, reason: str) -> UnsupportedOpError:
    return UnsupportedOpError("An operator of the module cannot be compiled", where=f"node {place!r}", got=reason)


def _output_names(program: ExportedProgram) -> list[str]:
    """Names from the structure of the result: "output", "output.0" of a tuple, "last_hidden_state" of a mapping."""
    spec = program.call_spec.out_spec
    specs = _user_outputs(program)
    assert spec is not None
    leaves, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(list(range(len(specs))), spec))
    names = []
    for path, index in leaves:
        keys = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path]
        named = ".".join(keys)
        if not isinstance(specs[int(index)].arg, ConstantArgument):
            names.append(named if named and not keys[0].isdigit() else ".".join(["output", *keys]))
    return names


def _imported(module: ir.Module, program: ExportedProgram, weights: WeightStore, name: str) -> Imported:
    type_ = ir.FunctionType(ir.TypeAttr(main_function(module).attributes["function_type"]).value)
    input_names: Sequence[str] = [str(n) for n in program.graph_signature.user_inputs if isinstance(n, str)]
    inputs = tuple(tensor_spec(n, t) for n, t in zip(input_names, type_.inputs, strict=True))
    outputs = tuple(tensor_spec(n, t) for n, t in zip(_output_names(program), type_.results, strict=True))
    return Imported(module, weights, inputs, outputs, name)
