"""What if the weights had other zeros: the cost model's answer, layer by layer. No weight is changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from torch_mlir import ir

from sparsec.errors import UsageError
from sparsec.formats.coo import Coo
from sparsec.formats.facts import Facts, facts_of
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.problem import Problem
from sparsec.passes.narrow_precision import reason_against
from sparsec.passes.select_format import decide, facts_of_layer, named_layers
from sparsec.passes.unit import Unit
from sparsec.report import LayerReport


@dataclass(frozen=True, slots=True)
class Scenario:
    """Zeros at random places, `zeros` being their share; or if `group` is (n, m), n nonzeros in m consecutive weights."""

    text: str
    zeros: float
    group: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """One layer now, and in each scenario; None where its weight cannot have that pattern, and it stays as it is."""

    now: LayerReport
    then: tuple[LayerReport | None, ...]


def parse_scenarios(text: str) -> tuple[Scenario, ...]:
    """Read "0.9,2:4"; raises `UsageError`."""
    return tuple(_scenario(part.strip()) for part in text.split(","))


def what_if(unit: Unit, scenarios: Sequence[Scenario]) -> list[Prediction]:
    """Predict every layer of a module that stands before `select_format`, as it is and in the scenarios."""
    found = []
    with unit.module.context, ir.Location.unknown():
        for name, layer in named_layers(unit):
            problem, facts = layer.problem(), facts_of_layer(layer, unit)
            now = decide(name, problem, facts, unit.isa, unit.machine)
            imposed = [_impose(facts, each) if facts is not None else None for each in scenarios]
            then = [
                decide(name, _in_precision(problem, each, unit), each, unit.isa, unit.machine) if each else None
                for each in imposed
            ]
            found.append(Prediction(now, tuple(then)))
    return found


def _in_precision(problem: Problem, facts: Facts, unit: Unit) -> Problem:
    """The problem in the arithmetic that a layer with such a weight would get."""
    if unit.precision == F32 or problem.arithmetic not in (F32, unit.precision):
        return problem
    single = replace(problem, arithmetic=F32)
    return single if reason_against(single, facts, unit) else replace(problem, arithmetic=unit.precision)


def _scenario(text: str) -> Scenario:
    kept, colon, of = text.partition(":")
    if colon and kept.isdecimal() and of.isdecimal() and 0 < int(kept) <= int(of) <= 1024:
        return Scenario(text, 1 - int(kept) / int(of), (int(kept), int(of)))
    try:
        zeros = float(text) if not colon else math.nan
    except ValueError:
        zeros = math.nan
    if not 0 <= zeros < 1:
        raise UsageError(
            "The option --what-if has a wrong form.",
            expected="shares of zeros from 0 to below 1 and N:M patterns, as in 0.9,2:4",
            got=text,
        )
    return Scenario(text, zeros)


def _impose(facts: Facts, scenario: Scenario) -> Facts | None:
    if scenario.group is not None and facts.columns % scenario.group[1]:
        return None
    return _imposed(facts.rows, facts.columns, scenario)


@cache
def _imposed(rows: int, columns: int, scenario: Scenario) -> Facts:
    """Facts of a pattern drawn at random, so that they are those that real weights would have."""
    random = np.random.default_rng(0)
    if scenario.group is None:
        stored = np.flatnonzero(random.random(rows * columns, dtype=np.float32) >= scenario.zeros)
    else:
        kept, of = scenario.group
        places = random.random((rows * columns // of, of), dtype=np.float32).argsort(axis=1)[:, :kept]
        stored = np.sort((places + np.arange(len(places))[:, None] * of).reshape(-1))
    return facts_of(Coo((rows, columns), stored.astype(np.int64), np.ones(len(stored), np.float32)))
