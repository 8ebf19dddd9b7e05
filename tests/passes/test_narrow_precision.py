"""Layers of float32 that multiply in bfloat16: which, and what is said of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from torch_mlir import ir

from sparsec.cost.database import Measurements, Result
from sparsec.cost.layer_key import LayerKey
from sparsec.ir.context import make_context
from sparsec.ir.weights import WeightStore
from sparsec.kernels.arithmetic import BF16, F32, Arithmetic
from sparsec.kernels.isa import AVX512_BF16
from sparsec.passes.layer import layers
from sparsec.passes.narrow_precision import narrow_precision
from sparsec.passes.unit import Unit

LINEAR = """
  #x = affine_map<(n, m) -> (n, m)>
  func.func @main(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
    %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<64x64xf32>
    %e = tensor.empty() : tensor<64x64xf32>
    %y = linalg.generic {indexing_maps = [#x, #x, #x], iterator_types = ["parallel", "parallel"], library_call = "sparsec"}
        ins(%x, %w : tensor<64x64xf32>, tensor<64x64xf32>) outs(%e : tensor<64x64xf32>) {
      ^bb0(%a: f32, %b: f32, %c: f32):
        %s = "sparsec.CONTRACTION"(%a, %b) : (f32, f32) -> f32
        linalg.yield %s : f32
    } -> tensor<64x64xf32>
    return %y : tensor<64x64xf32>
  }
"""


def narrowed(contraction: str, precision: Arithmetic, measurements: Measurements | None = None) -> Unit:
    module = ir.Module.parse(LINEAR.replace("CONTRACTION", contraction), make_context())
    weights = WeightStore({"w": np.ones((64, 64), np.float32)})
    unit = Unit(module, weights, AVX512_BF16, precision=precision, measurements=measurements)
    narrow_precision(unit)
    return unit


def test_a_linear_layer_multiplies_in_bfloat16() -> None:
    unit = narrowed("linear", BF16)
    with unit.module.context:
        (layer,) = layers(unit.module)
        assert layer.arithmetic == layer.problem().arithmetic == BF16
    assert unit.notes == ["precision bf16: 1 layers multiply in bf16 (vdpbf16ps), with sums in float32"]


def test_what_has_no_such_kernel_stays_and_is_told() -> None:
    unit = narrowed("matmul", BF16)
    with unit.module.context:
        (layer,) = layers(unit.module)
        assert layer.arithmetic == F32
    assert unit.notes[1] == "1 layers stay in float32: matmul layers of this kind have no bf16 kernel"


@dataclass(frozen=True)
class Times:
    """What every kernel of an arithmetic was measured to take, in ns; None for a wrong result."""

    by_arithmetic: Mapping[str, float | None]

    def results(self, key: LayerKey, versions: Mapping[str, str]) -> Mapping[str, Result]:
        if key.dtype not in self.by_arithmetic:
            return {}
        time = self.by_arithmetic[key.dtype]
        fault = "wrong result" if time is None else None
        return {name: Result(name, "v", time, 0.0, 5, fault, "now") for name in versions if name.startswith(key.dtype)}


@pytest.mark.parametrize(
    ("times", "expected", "reason"),
    [
        ({"bf16": 90.0, "f32": 100.0}, BF16, None),
        ({"bf16": 100.0, "f32": 90.0}, F32, "a float32 kernel was measured to be as fast as bf16"),
        ({"f32": 1.0}, BF16, None),  # not comparable
        ({"bf16": 1e9}, BF16, None),
        ({"bf16": None, "f32": 100.0}, F32, "linear layers of this kind have no bf16 kernel"),
    ],
)
def test_measurements_decide_where_there_are_both(
    times: dict[str, float | None], expected: Arithmetic, reason: str | None
) -> None:
    unit = narrowed("linear", BF16, Times(times))
    with unit.module.context:
        (layer,) = layers(unit.module)
        assert layer.arithmetic == expected
    assert unit.notes[1:] == ([f"1 layers stay in float32: {reason}"] if reason else [])


@pytest.mark.parametrize("contraction", ["linear", "matmul"])
def test_nothing_changes_unless_asked(contraction: str) -> None:
    unit = narrowed(contraction, F32)
    before = str(unit.module)
    narrow_precision(unit)
    assert str(unit.module) == before
    assert not unit.notes
