"""What reports say of a choice: against the next best, and against dense where that is another."""

from __future__ import annotations

import numpy as np
import pytest

from sparsec.cost.machine import GENERIC
from sparsec.formats.facts import facts_of
from sparsec.kernels.isa import AVX512
from sparsec.kernels.problem import LinearProblem
from sparsec.passes import select_format
from sparsec.passes.select_format import decide

TIMES = {"f32_linear_csr": 100.0, "f32_linear_dense": 230.0}


@pytest.mark.parametrize(
    ("split", "said"),
    [(104.0, "split would take 1.0 times as long, dense 2.3"), (500.0, "dense would take 2.3 times as long")],
)
def test_a_reason_names_the_next_best_and_dense(split: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {**TIMES, "f32_linear_split": split}
    monkeypatch.setattr(select_format, "predict", lambda name, *_: times.get(name, 1000.0))
    weight = np.zeros((64, 64), np.float32)
    weight[::3, ::5] = 1
    report = decide("fc", LinearProblem(32, 64, 64), facts_of(weight), AVX512, GENERIC, {})
    assert report.choice == "f32_linear_csr"
    assert report.reason.endswith(said)
