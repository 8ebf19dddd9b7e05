"""In which form weights are on a GPU: as the plan says, or as what wins a race; needs no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from plans import residual_block, sparse_matrix, two_of_four, weight

from sparsec.cuda import packed, program
from sparsec.cuda.absent import absent_gpu
from sparsec.cuda.dense import DenseWeight
from sparsec.cuda.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.packed import DeviceProgram
from sparsec.cuda.plan import DevicePlan, Product
from sparsec.cuda.resident import Resident, residents
from sparsec.cuda.weights import FEW, SparseWeight

K, M = 64, 128


def block(tokens: int) -> DevicePlan:
    first, second = two_of_four(M, K, 1), sparse_matrix(K, M, 1.0, 2)
    return residual_block(
        tokens, weight("first", first, "2:4"), weight("second", second, None), np.zeros(M, np.float32)
    )


@pytest.mark.parametrize(("winner", "kind"), [(0, Nm24Wgmma), (1, DenseWeight)])
def test_the_form_that_wins_is_kept(winner: int, kind: type) -> None:
    races: list[Product] = []

    def race(step: Product, forms: Sequence[Resident]) -> int:
        assert [type(form) for form in forms] == [Nm24Wgmma, DenseWeight]
        races.append(step)
        return winner

    plan = block(FEW + 1)
    again = replace(
        plan, steps=(*plan.steps, replace(plan.steps[0], weight=2)), weights=(*plan.weights, plan.weights[0])
    )
    found = residents(again, absent_gpu("h100"), race)
    assert [type(found[number, None]) for number in range(3)] == [kind, DenseWeight, kind]
    assert races == [plan.steps[0]]


def test_there_is_no_race_for_few_tokens() -> None:
    found = residents(block(FEW), absent_gpu("h100"), lambda *_: pytest.fail("a race"))
    assert isinstance(found[0, None], SparseWeight)


def test_machine_code_is_packed_for_whatever_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "compiled", lambda kernel, *_: kernel.encode())
    images = packed.packed(DeviceProgram(block(4096), ("h100",))).images
    assert {b"nm24_wgmma", b"dense_wgmma"} <= set(images.values())
