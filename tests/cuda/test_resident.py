"""In which form weights are on a GPU: as the plan says, or as what wins a race; needs no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from plans import residual_block, sparse_matrix, two_of_four, weight

from sparsec.cuda.code import program
from sparsec.cuda.device.absent import absent_gpu
from sparsec.cuda.network import packed
from sparsec.cuda.network.encoded import EncodedWeights
from sparsec.cuda.network.forms import Forms
from sparsec.cuda.network.packed import DeviceProgram
from sparsec.cuda.network.plan import DevicePlan, Product
from sparsec.cuda.network.resident import FEW, Dense, Resident, residents
from sparsec.cuda.products.dense import DenseKernel, DenseWeight
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.products.sparse_weight import SparseWeight

K, M = 64, 128


def block(tokens: int, m: int = M, k: int = K) -> DevicePlan:
    first, second = two_of_four(m, k, 1), sparse_matrix(k, m, 1.0, 2)
    return residual_block(
        tokens, weight("first", first, "2:4"), weight("second", second, None), np.zeros(m, np.float32)
    )


class Loader:
    """The form of this number wins."""

    def __init__(self, winner: int) -> None:
        self.winner = winner
        self.races: list[tuple[Product, list[type]]] = []

    def dense_kernels(self, step: Product, weight: DenseWeight) -> Sequence[DenseKernel]:
        return ("dense_wgmma", "dense_mma")

    def fastest(self, step: Product, forms: Sequence[Resident]) -> int:
        self.races.append((step, [type(form) for form in forms]))
        return self.winner if len(forms) == 3 else 0


@pytest.mark.parametrize(("winner", "kind"), [(0, Nm24Wgmma), (1, Dense), (2, Dense)])
def test_the_form_that_wins_is_kept(winner: int, kind: type) -> None:
    plan, loader = block(FEW + 1), Loader(winner)
    again = replace(
        plan, steps=(*plan.steps, replace(plan.steps[0], weight=2)), weights=(*plan.weights, plan.weights[0])
    )
    found = residents(again, Forms([again], absent_gpu("h100"), EncodedWeights({})), loader)
    assert [type(found[number, None]) for number in range(3)] == [kind, Dense, kind]
    assert loader.races == [(plan.steps[0], [Nm24Wgmma, Dense, Dense]), (plan.steps[1], [Dense, Dense])]
    first = found[0, None]
    assert not isinstance(first, Dense) or first.kernel == ("dense_wgmma", "dense_mma")[winner - 1]


def test_there_is_no_race_for_few_tokens() -> None:
    loader = Loader(0)
    plan = block(8, 4096, 4096)
    found = residents(plan, Forms([plan], absent_gpu("h100"), EncodedWeights({})), loader)
    assert isinstance(found[0, None], SparseWeight)
    residents(block(FEW), Forms([block(FEW)], absent_gpu("h100"), EncodedWeights({})), loader)
    assert loader.races == []


def test_machine_code_is_packed_for_whatever_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "compiled", lambda kernel, *_: kernel.encode())
    images = packed.packed(DeviceProgram((block(4096),), ("h100",)), EncodedWeights({}, keeps=True)).images
    assert {b"nm24_wgmma", b"dense_wgmma"} <= set(images.values())
