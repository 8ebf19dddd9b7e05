"""Steps in chunks: every unit is computed once, however many chunks there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.wasm_engines.module import Instance
from sparsec.artifact import Buffer, Plan, Space, Step, TensorSpec
from sparsec.targets import TARGETS
from sparsec.targets.wasm_module import emit_module
from tests.llvm_loops import loop

EXTENTS = (0, 1, 2, 7, 64, 1000, 65537)
COUNT = loop(
    "count",
    "ptr %y",
    """
  %place = getelementptr i32, ptr %y, i64 %i
  %before = load i32, ptr %place
  %after = add i32 %before, 1
  store i32 %after, ptr %place
""",
)


def counting(target: str) -> Instance:
    """A network whose step i adds 1 to each of the `EXTENTS[i]` elements of output i."""
    outputs = tuple(TensorSpec(f"y{i}", "uint32", (extent,)) for i, extent in enumerate(EXTENTS))
    steps = tuple(Step("count", (Buffer(Space.OUTPUT, i),), each, 2, "layer") for i, each in enumerate(EXTENTS))
    plan = Plan("counting", TARGETS[target].spec, (), outputs, 0, steps, np.zeros(0, np.uint8), {})
    return Instance(emit_module(COUNT, TARGETS[target], plan, weights_inside=True))


def counts(instance: Instance, number: int) -> list[int]:
    """How often each unit of a step was computed, which is forgotten."""
    address = int(instance.call("output", number))
    found = instance.read(address, "uint32", EXTENTS[number])
    instance.write(address, np.zeros(EXTENTS[number], np.uint32))
    return found.tolist()


@pytest.fixture(scope="module")
def parts() -> Instance:
    return counting("wasm32-threads")


@given(number=st.integers(0, len(EXTENTS) - 1), chunks=st.integers(1, 256), seed=st.integers(0, 99))
def test_chunks_in_any_order_compute_every_unit_once(parts: Instance, number: int, chunks: int, seed: int) -> None:
    for chunk in np.random.default_rng(seed).permutation(chunks):
        parts.call("part", number, int(chunk), chunks)
    assert counts(parts, number) == [1] * EXTENTS[number]


@pytest.mark.parametrize("target", ["wasm32", "wasm32-threads"])
def test_steps_one_by_one_and_all_at_once(target: str) -> None:
    instance = counting(target)
    for number in range(len(EXTENTS)):
        assert instance.call("step", number) == 0
        assert counts(instance, number) == [1] * EXTENTS[number]
    assert instance.call("run") == 0
    assert all(counts(instance, number) == [1] * extent for number, extent in enumerate(EXTENTS))


@pytest.mark.parametrize("target", ["wasm32", "wasm32-threads"])
def test_a_step_that_there_is_not_does_nothing(target: str) -> None:
    instance = counting(target)
    for number in (len(EXTENTS), -1):
        assert instance.call("step", number) == 0
    assert [counts(instance, i) for i, extent in enumerate(EXTENTS)] == [[0] * extent for extent in EXTENTS]
