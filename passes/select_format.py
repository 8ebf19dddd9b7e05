"""select_format: the cost model picks a kernel, and so a weight format, for each layer; the report says why.

Where the tuner has measured candidates on this machine, the fastest of them is taken if it beats the model's choice clearly.

Before:
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %w, %bias) ...
After:
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %w, %bias) ... attrs = {kernel = "f32_conv_csr", layer = "conv1"}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from torch_mlir import ir

from sparsec.cost.database import Result
from sparsec.cost.layer_key import LayerKey, kernel_version
from sparsec.cost.machine import Machine
from sparsec.cost.model import predict
from sparsec.errors import UnsupportedOpError
from sparsec.formats.facts import Facts
from sparsec.ir.module import node_name
from sparsec.kernels.arithmetic import F32, U8S8
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Kernel, OwnInstruction
from sparsec.kernels.problem import AttentionProblem, ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.kernels.table import KERNELS
from sparsec.kernels.words import words_of
from sparsec.passes.contraction import FLOAT32_BECAUSE
from sparsec.passes.layer import Layer, layers
from sparsec.passes.unit import Unit
from sparsec.report import Candidate, LayerReport

BYTES_OF_WORD = 4
NOISE = 0.03  # a measured winner must be better by this share, and by more than the measurements spread


def select_format(unit: Unit) -> None:
    """Name every layer, set its `kernel`, and record the decision in `unit.layers`."""
    with unit.module.context, ir.Location.unknown():
        for name, layer in named_layers(unit):
            layer.op.attributes["layer"] = ir.StringAttr.get(name)
            problem, facts = layer.problem(), facts_of_layer(layer, unit)
            results = results_of(layer, problem, facts, unit)
            report = decide(
                name, problem, facts, unit.isa, unit.machine, results, dense_only=unit.dense_only, kernels=unit.kernels
            )
            if FLOAT32_BECAUSE in layer.contraction.attributes:
                because = ir.StringAttr(layer.contraction.attributes[FLOAT32_BECAUSE]).value
                report = replace(report, reason=f"{report.reason}; quantised, but stays in float32: {because}")
            layer.op.attributes["kernel"] = ir.StringAttr.get(report.choice)
            unit.layers[name] = report


def named_layers(unit: Unit) -> list[tuple[str, Layer]]:
    """All layers by the node that they came from, made unique."""
    named: dict[str, Layer] = {}
    for layer in layers(unit.module):
        stem = node_name(layer.contraction) or layer.contraction.name.removeprefix("sparsec.")
        name, count = stem, 1
        while name in named:
            count += 1
            name = f"{stem}_{count}"
        named[name] = layer
    return list(named.items())


def facts_of_layer(layer: Layer, unit: Unit) -> Facts | None:
    """Facts about its weight; None if both operands are activations."""
    return unit.facts(layer.weight) if layer.weight is not None else None


def decide(
    name: str,
    problem: Problem,
    facts: Facts | None,
    isa: Isa,
    machine: Machine,
    results: Mapping[str, Result] | None = None,
    *,
    dense_only: bool = False,
    kernels: Collection[str] | None = None,
) -> LayerReport:
    """Choose a kernel by the cost model and by `results` of measurements, by kernel; of dense weights if `dense_only`, and
    of those named by `kernels`, if given.

    Raises `UnsupportedOpError` if no kernel computes the layer.
    """
    listed = candidates(problem, facts, isa, machine, results or {})
    if dense_only:
        listed = [each if each.format == "dense" else _unwanted(each, "zeros are not to be used") for each in listed]
    if kernels is not None:
        listed = [each if each.kernel in kernels else _unwanted(each, "not asked for") for each in listed]
    able = sorted((c for c in listed if c.refusal is None), key=_predicted)
    if not able:
        reasons = "; ".join(f"{c.kernel}: {c.refusal}" for c in listed)
        raise UnsupportedOpError("no kernel computes this layer", where=name, got=f"{problem}", expected=reasons)
    best, words = choose(able, results or {}), words_of(problem.arithmetic, isa)
    return LayerReport(
        name=name,
        op=OPS[type(problem)],
        shape=describe(problem),
        density=facts.density if facts else None,
        pattern=facts.pattern if facts else "two activations",
        candidates=tuple(listed),
        choice=best.kernel,
        reason=_reason(best, able, facts, words.group if words is not None else 1)
        + _instruction(best.kernel, problem, isa),
        predicted_ns=_predicted(best),
    )


def _unwanted(candidate: Candidate, reason: str) -> Candidate:
    return replace(candidate, predicted_ns=None, refusal=candidate.refusal or reason)


def candidates(
    problem: Problem, facts: Facts | None, isa: Isa, machine: Machine, results: Mapping[str, Result]
) -> list[Candidate]:
    """Every kernel of the layer's arithmetic, with its predicted and measured time or the reason why it cannot."""
    return [
        _candidate(kernel, problem, facts, isa, machine, results.get(name))
        for name, kernel in KERNELS.items()
        if name.startswith(f"{problem.arithmetic.name}_")
    ]


OPS: Mapping[type[Problem], str] = {
    ConvProblem: "conv",
    LinearProblem: "linear",
    MatmulProblem: "matmul",
    AttentionProblem: "attention",
}


def results_of(layer: Layer, problem: Problem, facts: Facts | None, unit: Unit) -> Mapping[str, Result]:
    """What was measured on this machine for such a layer, by kernel."""
    if unit.measurements is None:
        return {}
    weight = unit.weights[layer.weight] if layer.weight is not None else None
    key = LayerKey.of(problem, layer.epilogue().tag, unit.isa, facts, weight, unit.machine.threads)
    return unit.measurements.results(key, {name: kernel_version(kernel) for name, kernel in KERNELS.items()})


def _candidate(
    kernel: Kernel, problem: Problem, facts: Facts | None, isa: Isa, machine: Machine, result: Result | None
) -> Candidate:
    refusal = kernel.refuses(problem, isa)
    if refusal is None and facts is None and kernel.format != "dense":
        refusal = "the second operand is computed, not a weight"
    if refusal is None and result is not None and result.fault is not None:
        refusal = f"rejected by the tuner: {result.fault}"
    predicted = predict(kernel.name, problem, facts, isa, machine) if refusal is None else None
    return Candidate(kernel.name, kernel.format, predicted, refusal, result.median_ns if result else None)


def choose(able: Sequence[Candidate], results: Mapping[str, Result]) -> Candidate:
    """Of `able`, sorted by prediction: the first, unless another was measured to be faster than noise explains."""
    default = able[0]
    times = {each.kernel: results[each.kernel].median_ns for each in able if each.kernel in results}
    timed = {name: time for name, time in times.items() if time is not None}
    if default.kernel not in timed:
        return default
    best = min((each for each in able if each.kernel in timed), key=lambda each: timed[each.kernel])
    spread = max(results[default.kernel].spread_ns, results[best.kernel].spread_ns)
    gain = timed[default.kernel] - timed[best.kernel]
    return best if gain > max(NOISE * timed[default.kernel], spread) else default


def _predicted(candidate: Candidate) -> float:
    return candidate.predicted_ns if candidate.predicted_ns is not None else math.inf


def _measured(candidate: Candidate) -> float:
    return candidate.measured_ns if candidate.measured_ns is not None else math.inf


def _reason(best: Candidate, able: list[Candidate], facts: Facts | None, width: int) -> str:
    """One sentence; `width` is the number of neighbouring inputs in a word."""
    if facts is None and len(able) == 1:
        return "both operands are activations: dense"
    pattern = facts.seen_by(best.format, width) if facts is not None else "two activations"
    if len(able) == 1:
        return f"{best.format}: the only kernel for this shape ({pattern})"
    default = able[0]
    if best is not default:
        ratio = _measured(default) / max(_measured(best), 1e-9)
        return f"{best.format}: {pattern}; measured {ratio:.2f} times as fast as {_told_apart(default, best)}"
    if len([c for c in able if c.measured_ns is not None]) > 1 and best.measured_ns is not None:
        rival = min((c for c in able if c is not best), key=_measured)
        time, verb = _measured, "was measured to take"
    else:
        rival, time, verb = able[1], _predicted, "would take"
    reason = f"{best.format}: {pattern}; {_told_apart(rival, best)} {verb} {_ratio(rival, best, time)} times as long"
    dense = min((c for c in able if c.format == "dense"), key=time, default=best)
    if dense in (best, rival) or time(dense) == math.inf:
        return reason
    return f"{reason}, dense {_ratio(dense, best, time)}"


def _ratio(other: Candidate, best: Candidate, time: Callable[[Candidate], float]) -> str:
    return f"{time(other) / max(time(best), 1e-9):.1f}"


def _instruction(name: str, problem: Problem, isa: Isa) -> str:
    """What multiplies, where that is not a float32 multiply-add."""
    kernel, words = KERNELS[name], words_of(problem.arithmetic, isa)
    if isinstance(kernel, OwnInstruction):
        return f"; {kernel.instruction}"
    if words is None or problem.arithmetic == F32:
        return ""
    slow = problem.arithmetic == U8S8 and words.group < BYTES_OF_WORD
    return f"; {words.instruction}" + (
        " (no dot product of bytes: 8 bit may be no faster than float32)" if slow else ""
    )


def _told_apart(other: Candidate, best: Candidate) -> str:
    """The other's format, or its kernel where the formats are the same."""
    return other.format if other.format != best.format else other.kernel


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
        case AttentionProblem():
            return f"{problem.matrices} heads of {problem.size}: {problem.queries} queries, {problem.keys} keys"
