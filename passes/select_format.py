"""select_format: the cost model picks a kernel, and so a weight format, for each layer; the report says why.

Before:
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %w, %bias) ...
After:
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %w, %bias) ... attrs = {kernel = "f32_conv_csr", layer = "conv1"}
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.cost.machine import GENERIC
from sparsec.cost.model import predict
from sparsec.errors import UnsupportedOpError
from sparsec.formats.facts import Facts, facts_of
from sparsec.kernels.kernel import Kernel
from sparsec.kernels.problem import ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.kernels.table import KERNELS
from sparsec.passes.layer import Layer, layers
from sparsec.passes.unit import Unit
from sparsec.report import Candidate, LayerReport


def select_format(unit: Unit) -> None:
    """Name every layer, set its `kernel`, and record the decision in `unit.layers`."""
    with unit.module.context, ir.Location.unknown():
        for layer in layers(unit.module):
            name = _name(layer, unit)
            layer.op.attributes["layer"] = ir.StringAttr.get(name)
            report = _decide(name, layer, unit)
            layer.op.attributes["kernel"] = ir.StringAttr.get(report.choice)
            unit.layers[name] = report


def _name(layer: Layer, unit: Unit) -> str:
    """The node that the layer came from, made unique."""
    text = str(layer.contraction.location)
    stem = text.split('"')[1] if '"' in text else layer.contraction.name.removeprefix("sparsec.")
    name, count = stem, 1
    while name in unit.layers:
        count += 1
        name = f"{stem}_{count}"
    return name


def _decide(name: str, layer: Layer, unit: Unit) -> LayerReport:
    problem = layer.problem()
    facts = facts_of(unit.weights[layer.weight]) if layer.weight is not None else None
    candidates = [_candidate(kernel, problem, facts, unit) for kernel in KERNELS.values()]
    able = sorted((c for c in candidates if c.predicted_ns is not None), key=lambda c: c.predicted_ns or 0.0)
    if not able:
        reasons = "; ".join(f"{c.kernel}: {c.refusal}" for c in candidates)
        raise UnsupportedOpError("no kernel computes this layer", where=name, got=f"{problem}", expected=reasons)
    best = able[0]
    return LayerReport(
        name=name,
        op=layer.contraction.name.removeprefix("sparsec."),
        shape=describe(problem),
        density=facts.density if facts else None,
        pattern=facts.pattern if facts else "two activations",
        candidates=tuple(candidates),
        choice=best.kernel,
        reason=_reason(best, able[1:], facts),
        predicted_ns=best.predicted_ns or 0.0,
    )


def _candidate(kernel: Kernel, problem: Problem, facts: Facts | None, unit: Unit) -> Candidate:
    refusal = kernel.refuses(problem, unit.isa)
    if refusal is None and facts is None and kernel.format != "dense":
        refusal = "the second operand is computed, not a weight"
    predicted = predict(kernel.name, problem, facts, unit.isa, GENERIC) if refusal is None else None
    return Candidate(kernel.name, kernel.format, predicted, refusal)


def _reason(best: Candidate, others: list[Candidate], facts: Facts | None) -> str:
    """One sentence."""
    if facts is None:
        return "both operands are activations: dense"
    if not others:
        return f"{best.format}: the only kernel for this shape ({facts.pattern})"
    rival = others[0]
    ratio = (rival.predicted_ns or 0.0) / max(best.predicted_ns or 0.0, 1e-9)
    return f"{best.format}: {facts.pattern}; {rival.format} would take {ratio:.1f} times as long"


def describe(problem: Problem) -> str:
    """The shapes of a problem in one line."""
    match problem:
        case ConvProblem():
            sizes = "x".join(str(axis.size) for axis in problem.axes)
            kernel = "x".join(str(axis.kernel) for axis in problem.axes)
            stride = "x".join(str(axis.stride) for axis in problem.axes)
            groups = f" groups {problem.groups}" if problem.groups > 1 else ""
            return f"{problem.channels}->{problem.filters} at {sizes}, kernel {kernel}, stride {stride}{groups}"
        case LinearProblem():
            return f"{problem.tokens} x {problem.inputs} -> {problem.outputs}"
        case MatmulProblem():
            return f"{problem.batch} x [{problem.rows} x {problem.inner}] [{problem.inner} x {problem.columns}]"
