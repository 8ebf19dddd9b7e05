"""Reductions that read the same become one; what is between them may be in the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch_mlir import ir

import sparsec
from sparsec.ir.context import make_context
from sparsec.ir.module import main_block
from sparsec.ir.weights import WeightStore
from sparsec.kernels.isa import AVX512
from sparsec.passes.join_reductions import join_reductions
from sparsec.passes.unit import Unit

SUM = """linalg.generic {indexing_maps = [affine_map<(a, k) -> (a, k)>, affine_map<(a, k) -> (a)>],
    iterator_types = ["parallel", "reduction"]} ins(%SOURCE : memref<4x8xf32>) outs(%TARGET : memref<4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.addf %in, %out : f32
    linalg.yield %0 : f32
  }"""
COPY = """linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]}
    ins(%SOURCE : memref<4xf32>) outs(%TARGET : memref<4xf32>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  }"""
FILL = """linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>], iterator_types = ["parallel", "parallel"]}
    outs(%TARGET : memref<4x8xf32>) {
  ^bb0(%out: f32):
    linalg.yield %c : f32
  }"""


def nests(*ops: tuple[str, str, str]) -> int:
    """How many generics are left of these, each with what it reads and writes."""
    body = "\n".join(text.replace("%SOURCE", source).replace("%TARGET", target) for text, source, target in ops)
    text = f"""func.func @main(%x: memref<4x8xf32>, %y: memref<4x8xf32>, %p: memref<4xf32>, %q: memref<4xf32>, %r: memref<4xf32>) {{
        %c = arith.constant 1.0 : f32
        {body}
        return }}"""
    unit = Unit(ir.Module.parse(text, make_context()), WeightStore({}), AVX512)
    join_reductions(unit)
    assert unit.module.operation.verify()
    with unit.module.context:
        return sum(item.operation.name == "linalg.generic" for item in main_block(unit.module).operations)


@pytest.mark.parametrize(
    ("ops", "left"),
    [
        ([(SUM, "%x", "%p"), (SUM, "%x", "%q")], 1),
        ([(SUM, "%x", "%p"), (SUM, "%x", "%q"), (SUM, "%x", "%r")], 2),  # a nest of two is not joined again
        ([(SUM, "%x", "%p"), (SUM, "%y", "%q")], 2),
        ([(SUM, "%x", "%p"), (SUM, "%x", "%p")], 2),
        ([(SUM, "%x", "%p"), (COPY, "%r", "%q"), (SUM, "%x", "%q")], 2),
        ([(SUM, "%x", "%p"), (COPY, "%p", "%q"), (SUM, "%x", "%q")], 3),
        ([(SUM, "%x", "%p"), (COPY, "%q", "%p"), (SUM, "%x", "%q")], 3),
        ([(SUM, "%x", "%p"), (FILL, "", "%x"), (SUM, "%x", "%q")], 3),
        ([(SUM, "%x", "%p"), (FILL, "", "%y"), (SUM, "%x", "%q")], 2),
    ],
)
def test_what_is_joined(ops: list[tuple[str, str, str]], left: int) -> None:
    assert nests(*ops) == left


class Range(nn.Module):
    """Least and greatest of each row, and of all."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x.amin(-1), x.amax(-1), x.amin(), x.amax()


class Truths(nn.Module):
    """Reductions of the same operand to other types."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x.any(), x.sum(), x.all()


@pytest.mark.parametrize("shape", [(1, 5), (32, 768), (7, 33)])
@pytest.mark.parametrize("hole", [False, True])
def test_ranges_are_those_of_torch(shape: tuple[int, int], *, hole: bool) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if hole:
        x[-1, -1] = np.nan
    found = sparsec.compile(Range(), (torch.from_numpy(x),))(x)
    for ours, theirs in zip(found, Range()(torch.from_numpy(x)), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs.numpy())


def test_truths_are_counted_and_asked_for_any_in_one_nest() -> None:
    x = torch.tensor([[True, False, True], [False, False, False]])
    counts = sparsec.compile(Truths(), (x,))(x)
    for ours, theirs in zip(counts, Truths()(x), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs.numpy())
