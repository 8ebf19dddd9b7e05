"""Roofs: loops compile to what they say, and rates come out."""

from __future__ import annotations

import numpy as np
import pytest

from bench import roofs
from bench.roofs import BROADCAST_FMA, FMA, LOAD_FMA, NARROW, READ, Loop, compiled, loop_text, measure_roofs


@pytest.mark.parametrize(("loop", "factor"), [(FMA, 3.0), (LOAD_FMA, 5.0), (BROADCAST_FMA, 5.0)])
def test_a_loop_multiplies_and_adds_once_per_step(loop: Loop, factor: float) -> None:
    lanes, sums, steps = 4, 2, 10
    memory = np.full(1024, 5, np.float32)
    operands = np.zeros((2 + sums, lanes), np.float32)
    operands[0], operands[1] = 3, 7
    with compiled(loop_text(loop, lanes, sums)) as call:
        call(memory.ctypes.data, 1023, steps, operands.ctypes.data)
    assert (operands[2:] == steps * factor * 7).all()


def test_a_loop_reads_all_of_its_memory() -> None:
    lanes, sums, size = 4, 2, 256
    memory, operands = np.zeros(size // 4, np.uint32), np.zeros((2 + sums, lanes), np.uint32)
    memory[:] = 1 << (np.arange(size // 4) % 32)
    with compiled(loop_text(READ, lanes, sums)) as call:
        call(memory.ctypes.data, size - 1, size // (4 * lanes * sums), operands.ctypes.data)
    assert np.bitwise_or.reduce(operands[2:], axis=None) == np.uint32(0xFFFFFFFF)


def test_all_roofs_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofs, "REPEATS", 1)
    monkeypatch.setattr(roofs, "REPEAT_SECONDS", 1e-5)
    monkeypatch.setattr(roofs, "FAR", 32 << 20)
    found = measure_roofs()
    assert all(row.median > 0 for row in found.rows())
    assert len(found.memory) == len(roofs.CACHED) + 1
    assert len(found.narrow) <= len(NARROW)
