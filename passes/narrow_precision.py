"""narrow_precision: layers of float32 multiply in a lower precision, where that was asked for and is faster.

Their activations and sums stay float32: the kernels of such layers round what they multiply.

Before, with the precision bf16:
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %w, %bias) ...
After:
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %w, %bias) ... attrs = {precision = "bf16"}
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.formats.facts import Facts
from sparsec.kernels.arithmetic import F32, FP16
from sparsec.kernels.problem import Problem
from sparsec.kernels.words import words_of
from sparsec.passes.layer import PRECISION, Layer, layers
from sparsec.passes.select_format import OPS, candidates, choose, facts_of_layer, results_of
from sparsec.passes.unit import Unit
from sparsec.report import Candidate

LARGEST = float(np.finfo(np.float16).max)


def narrow_precision(unit: Unit) -> None:
    """Mark the layers of float32 that are faster in `unit.precision`, by prediction or measured, and note how many."""
    if unit.precision == F32:
        return
    kept: Counter[str] = Counter()
    narrowed = 0
    with unit.module.context, ir.Location.unknown():
        for layer in (each for each in layers(unit.module) if each.arithmetic == F32):
            reason = reason_against(layer.problem(), facts_of_layer(layer, unit), unit, layer)
            if reason is None:
                layer.op.attributes[PRECISION] = ir.StringAttr.get(unit.precision.name)
                narrowed += 1
            else:
                kept[reason] += 1
    words = words_of(unit.precision, unit.isa)
    assert words is not None, "the driver refuses targets without the precision"
    unit.notes.append(
        f"precision {unit.precision.name}: {narrowed} layers multiply in {unit.precision.name} ({words.instruction}), "
        f"with sums in float32"
    )
    unit.notes += [f"{count} layers stay in float32: {reason}" for reason, count in kept.items()]


def reason_against(problem: Problem, facts: Facts | None, unit: Unit, layer: Layer | None = None) -> str | None:
    """Why a layer of float32 stays that; None if `unit.precision` is faster.

    That is predicted, or where both were measured for `layer`, by the measurements.
    """
    name = unit.precision.name
    if unit.precision == FP16 and layer is not None and _largest(layer, unit) > LARGEST:
        return f"a weight is larger than {LARGEST:g}, the largest number of float16"
    fast = _times(replace(problem, arithmetic=unit.precision), facts, unit, layer)
    single = _times(problem, facts, unit, layer)
    if math.isinf(fast.predicted):
        return f"{OPS[type(problem)]} layers of this kind have no {name} kernel"
    if fast.measured is not None and single.measured is not None:
        verb, faster = "was measured", fast.measured < single.measured
    else:
        verb, faster = "is predicted", fast.predicted < single.predicted
    return None if faster else f"a float32 kernel {verb} to be as fast as {name}"


def _largest(layer: Layer, unit: Unit) -> float:
    """The largest size of a weight."""
    if layer.weight is None:
        return 0.0
    weight = unit.weights[layer.weight]
    values = weight.values if isinstance(weight, Coo) else np.asarray(weight)
    return float(np.abs(values).max(initial=0.0))


@dataclass(frozen=True, slots=True)
class _Times:
    """Nanoseconds of a layer in one arithmetic.

    `predicted` is of the kernel that is predicted to be fastest (infinite if there is none), `measured` of the one that
    would be chosen, if it was measured.
    """

    predicted: float
    measured: float | None


def _times(problem: Problem, facts: Facts | None, unit: Unit, layer: Layer | None) -> _Times:
    results = results_of(layer, problem, facts, unit) if layer is not None else {}
    listed = [each for each in candidates(problem, facts, unit.isa, unit.machine, results) if each.refusal is None]
    able = sorted(listed, key=_predicted)
    return _Times(_predicted(able[0]), choose(able, results).measured_ns) if able else _Times(math.inf, None)


def _predicted(candidate: Candidate) -> float:
    return candidate.predicted_ns if candidate.predicted_ns is not None else math.inf
