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
from dataclasses import replace

from torch_mlir import ir

from sparsec.formats.facts import Facts
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.problem import Problem
from sparsec.kernels.words import words_of
from sparsec.passes.layer import PRECISION, layers
from sparsec.passes.select_format import OPS, candidates, facts_of_layer
from sparsec.passes.unit import Unit


def narrow_precision(unit: Unit) -> None:
    """Mark the layers of float32 that the cost model predicts to be faster in `unit.precision`, and note how many."""
    if unit.precision == F32:
        return
    kept: Counter[str] = Counter()
    narrowed = 0
    with unit.module.context, ir.Location.unknown():
        for layer in (each for each in layers(unit.module) if each.arithmetic == F32):
            reason = reason_against(layer.problem(), facts_of_layer(layer, unit), unit)
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


def reason_against(problem: Problem, facts: Facts | None, unit: Unit) -> str | None:
    """Why a layer of float32 stays that; None if `unit.precision` is predicted to be faster."""
    name = unit.precision.name
    fast = _fastest(replace(problem, arithmetic=unit.precision), facts, unit)
    if math.isinf(fast):
        return f"{OPS[type(problem)]} layers of this kind have no {name} kernel"
    return None if fast < _fastest(problem, facts, unit) else f"a float32 kernel is predicted to be as fast as {name}"


def _fastest(problem: Problem, facts: Facts | None, unit: Unit) -> float:
    """Predicted nanoseconds of the best kernel; infinite if there is none."""
    listed = candidates(problem, facts, unit.isa, unit.machine, {})
    return min((each.predicted_ns for each in listed if each.predicted_ns is not None), default=math.inf)
