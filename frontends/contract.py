"""Running the pipelines that end in the torch backend contract, with MLIR's complaints turned into our errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir
from torch_mlir.passmanager import PassManager

from sparsec.errors import UnsupportedOpError
from sparsec.frontends.imported import LIFT_ABOVE, TensorSpec
from sparsec.ir.weights import WeightStore, weight_op, weight_types

BACKEND_LEGAL_OPS = ("aten.flatten.using_ints", "aten.adaptive_avg_pool1d", "aten.unflatten.int")
CONTRACT_OPTIONS = "{backend-legal-ops=" + ",".join(BACKEND_LEGAL_OPS) + "}"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One MLIR diagnostic: the name in its location ("" when it has none), its message, and its notes."""

    place: str
    message: str
    notes: tuple[str, ...]


def location_name(location: ir.Location) -> str:
    """The first name in a location: "conv1" of `loc("conv1")`, also through fused and call-site locations."""
    if isinstance(location, ir.NameLoc):
        return str(location.name_str)
    if isinstance(location, ir.FusedLoc):
        return next((name for name in map(location_name, location.locations) if name), "")
    if isinstance(location, ir.CallSiteLoc):
        return location_name(location.callee) or location_name(location.caller)
    return ""


def run_pipeline(module: ir.Module, pipeline: str) -> list[Complaint]:
    """Run `builtin.module(<pipeline>)`; returns the errors that MLIR reported, none on success. Nothing is printed."""
    complaints: list[Complaint] = []

    def record(diagnostic: ir.Diagnostic) -> bool:
        if diagnostic.severity == ir.DiagnosticSeverity.ERROR:
            complaints.append(_complaint(diagnostic))
        return True

    with module.context as context:
        handler = context.attach_diagnostic_handler(record)
        emit_before = context.emit_error_diagnostics
        context.emit_error_diagnostics = True
        try:
            PassManager.parse(f"builtin.module({pipeline})").run(module.operation)
        except ir.MLIRError as error:
            complaints = complaints or [Complaint("", str(error), ())]
        else:
            # Some passes report an error and still succeed; the module is then what it should be.
            complaints = []
        finally:
            context.emit_error_diagnostics = emit_before
            handler.detach()
    return complaints


def _complaint(diagnostic: ir.Diagnostic) -> Complaint:
    notes = tuple(str(note.message) for note in diagnostic.notes)
    return Complaint(location_name(diagnostic.location), str(diagnostic.message), notes)


def main_function(module: ir.Module) -> ir.Operation:
    """The only function of an imported module."""
    return module.body.operations[0].operation


def lift_literals(module: ir.Module, weights: WeightStore) -> None:
    """Replace each non-splat `torch.vtensor.literal` of more than `LIFT_ABOVE` elements (folding makes them) by a
    weight op.
    """
    for op in _operations(main_function(module)):
        if op.name != "torch.vtensor.literal":
            continue
        value = op.attributes["value"]
        if not isinstance(value, ir.DenseElementsAttr) or value.is_splat or len(value) <= LIFT_ABOVE:
            continue
        array = np.array(value)
        name = weights.add(location_name(op.location) or "constant", array)
        tensor, _ = weight_types(array, module.context)
        new = weight_op(name, tensor, op.results[0].type, loc=op.location, ip=ir.InsertionPoint(op))
        op.results[0].replace_all_uses_with(new)
        op.erase()


def _operations(root: ir.Operation) -> list[ir.Operation]:
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        found.append(op.operation)
        return ir.WalkResult.ADVANCE

    root.walk(visit)
    return found


def require_static(module: ir.Module, fail: Callable[[str, str], UnsupportedOpError]) -> None:
    """Raise `fail(place, reason)` for the first op whose result has a shape or type that is not known at compile
    time.
    """
    for op in _operations(main_function(module)):
        for result in op.results:
            text = str(result.type)
            if text.startswith("!torch.vtensor") and ("?" in text or "<[" not in text or "unk" in text):
                raise fail(location_name(op.location), f"the shape of its result depends on the data ({text})")
            if text.startswith("!torch.tensor"):
                raise fail(location_name(op.location), "it changes a tensor in place")


_NUMPY_NAMES = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "i1": "bool",
    "complex<f32>": "complex64",
    "complex<f64>": "complex128",
}


def tensor_spec(name: str, vtensor: ir.Type) -> TensorSpec:
    """Name, dtype and shape of a value of type `!torch.vtensor<[2,3],si64>`.

    Raises `UnsupportedOpError` for other types.
    """
    text = str(vtensor)
    if not text.startswith("!torch.vtensor<[") or "?" in text:
        raise UnsupportedOpError(f"{name!r} is not a tensor of static shape", where=name, expected="a tensor", got=text)
    dims, _, element = text.removeprefix("!torch.vtensor<[").removesuffix(">").partition("],")
    shape = tuple(int(dim) for dim in dims.split(",") if dim)
    if element[:2] in ("si", "ui"):
        return TensorSpec(name, f"{'u' if element[0] == 'u' else ''}int{element[2:]}", shape)
    return TensorSpec(name, _NUMPY_NAMES.get(element, element), shape)
