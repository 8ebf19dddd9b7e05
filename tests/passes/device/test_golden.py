"""Every pass for GPUs on a small module: the text before, and the text after, which is kept in `golden/`.

`pytest tests/passes/device --update-golden` rewrites the files; read the difference before you commit it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from torch_mlir import ir

from sparsec.ir.context import make_context
from sparsec.ir.weights import WeightStore
from sparsec.kernels.isa import AVX512
from sparsec.passes.device.table import DEVICE_PASSES
from sparsec.passes.table import PASSES
from sparsec.passes.unit import Unit

GOLDEN = Path(__file__).parent / "golden"
_ROWS = {name: run for name, run, _ in DEVICE_PASSES}
_OWN = sorted(set(_ROWS) - {name for name, _, _ in PASSES})

WEIGHTS: Mapping[str, Mapping[str, np.ndarray]] = {
    "widen_halves": {"w": np.ones((4, 16), np.float16)},
    "block_pixels": {"w": np.ones((16, 3, 7, 7), np.float32)},
    "fill_channels": {"w": np.ones((16, 3, 3, 3), np.float32)},
    "point_products": {"w": np.ones((4, 16, 1, 1), np.float32)},
    "scale_filters": {"w": np.ones((4, 3, 1, 1), np.float32), "shift": np.ones((1, 4, 1, 1), np.float32)},
    "share_weights": {"w": np.zeros((64, 8), np.float32)},
    "join_products": {
        "w": np.ones((2, 8), np.float32),
        "v": np.ones((2, 8), np.float32),
        "b": np.ones(2, np.float32),
        "c": np.zeros(2, np.float32),
    },
}


def _unit(text: str, name: str) -> Unit:
    return Unit(ir.Module.parse(text, make_context()), WeightStore(WEIGHTS.get(name, {})), AVX512)


@pytest.mark.parametrize("name", _OWN)
def test_pass(name: str, request: pytest.FixtureRequest) -> None:
    unit = _unit((GOLDEN / f"{name}.in.mlir").read_text(), name)
    _ROWS[name](unit)
    assert unit.module.operation.verify()
    after = str(unit.module)
    golden = GOLDEN / f"{name}.out.mlir"
    if request.config.getoption("--update-golden"):
        golden.write_text(after)
    assert after == golden.read_text()
    assert ir.Module.parse(after, unit.module.context).operation.verify(), "what a pass prints can be read back"


@pytest.mark.parametrize("name", _OWN)
def test_nothing_to_do_changes_nothing(name: str) -> None:
    text = "module {\n  func.func @main(%arg0: memref<4xf32>) {\n    return\n  }\n}\n"
    unit = _unit(text, "")
    _ROWS[name](unit)
    assert str(unit.module) == text


def test_joined_weights() -> None:
    unit = _unit((GOLDEN / "join_products.in.mlir").read_text(), "join_products")
    _ROWS["join_products"](unit)
    assert unit.weights.dense("w+v").shape == (4, 8)
    np.testing.assert_array_equal(unit.weights.dense("w+v/bias"), [1, 1, 0, 0])
