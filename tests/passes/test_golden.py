"""Every pass on a small module: the text before, and the text after, which is kept in `golden/`.

`pytest tests/passes --update-golden` rewrites the files; read the difference before you commit it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch_mlir import ir

from sparsec.cost.machine import GENERIC, Machine
from sparsec.ir.context import make_context
from sparsec.ir.weights import WeightStore
from sparsec.kernels.isa import AVX512
from sparsec.passes.table import PASSES
from sparsec.passes.unit import Unit

GOLDEN = Path(__file__).parent / "golden"
_ROWS = {name: run for name, run, _ in PASSES}


def _eye(*shape: int) -> np.ndarray:
    """A [filters, channels, ...] weight whose diagonal is 1, 2, 3, …"""
    weight = np.zeros(shape, np.float32)
    for index in range(min(shape[:2])):
        weight[index, index] = index + 1
    return weight


WEIGHTS: Mapping[str, Mapping[str, np.ndarray]] = {
    "form_quantized": {"w": np.arange(32, dtype=np.int8).reshape(8, 4)},
    "dequantize_weights": {"w": np.arange(8, dtype=np.int8).reshape(4, 2)},
    "fold_constants": {"w": np.arange(6, dtype=np.float32).reshape(3, 2)},
    "fold_batch_norm": {
        "w": np.ones((2, 1, 1, 1), np.float32),
        "gamma": np.array([2, 4], np.float32),
        "beta": np.array([1, 0], np.float32),
        "mean": np.array([0, 1], np.float32),
        "variance": np.array([4, 1], np.float32),
    },
    "split_transposed": {"w": np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)},
    "split_stacked": {"w": np.arange(8, dtype=np.float32).reshape(2, 4, 1)},
    "form_layers": {"w": np.zeros((3, 8), np.float32), "v": np.zeros((8, 3), np.float32)},
    "tag_sparsity": {"w": _eye(4, 4)},
    "prune_channels": {
        "w1": _eye(4, 3, 1, 1),
        "b1": np.array([0, 0, 0, 5], np.float32),
        "w2": np.ones((2, 4, 1, 1), np.float32),
    },
    "select_format": {"w": np.ones((64, 64), np.float32)},  # no zeros: dense whatever the cost model is tuned to
    "lower_layers": {"w": _eye(4, 4)},
}
MACHINES: Mapping[str, Machine] = {"fuse_prologue": replace(GENERIC, threads=2)}  # for passes that ask for threads


@pytest.mark.parametrize("name", sorted(path.stem.removesuffix(".in") for path in GOLDEN.glob("*.in.mlir")))
def test_pass(name: str, request: pytest.FixtureRequest) -> None:
    context = make_context()
    module = ir.Module.parse((GOLDEN / f"{name}.in.mlir").read_text(), context)
    unit = Unit(module, WeightStore(WEIGHTS.get(name, {})), AVX512, machine=MACHINES.get(name, GENERIC))
    _ROWS[name](unit)
    assert unit.module.operation.verify()
    after = _main_text(unit.module)
    golden = GOLDEN / f"{name}.out.mlir"
    if request.config.getoption("--update-golden"):
        golden.write_text(after)
    assert after == golden.read_text()
    assert ir.Module.parse(str(unit.module), context).operation.verify(), "what a pass prints can be read back"


@pytest.mark.parametrize("name", sorted(_ROWS))
def test_nothing_to_do_changes_nothing(name: str) -> None:
    context = make_context()
    text = "module {\n  func.func @main(%arg0: memref<4xf32>) {\n    return\n  }\n}\n"
    unit = Unit(ir.Module.parse(text, context), WeightStore(), AVX512)
    _ROWS[name](unit)
    changed = str(unit.module).replace(" attributes {arena_bytes = 0 : i64}", "")
    assert changed == text


@pytest.mark.parametrize("name", sorted(_ROWS))
def test_every_pass_has_a_golden_text(name: str) -> None:
    has_own_tests = {"narrow_precision", "expand_math"}
    assert name in has_own_tests or (GOLDEN / f"{name}.in.mlir").exists()


def test_dequantized_weights() -> None:
    """(codes - zero point) * scale of each row."""
    context = make_context()
    module = ir.Module.parse((GOLDEN / "dequantize_weights.in.mlir").read_text(), context)
    unit = Unit(module, WeightStore(WEIGHTS["dequantize_weights"]), AVX512)
    _ROWS["dequantize_weights"](unit)
    expected = (np.arange(8).reshape(4, 2) - 1) * np.array([[0.25], [0.5], [0.75], [1]])
    np.testing.assert_array_equal(unit.weights.dense("w/dequantized"), expected)


def test_tabulated_codes() -> None:
    """tanh(erf(x)) / x of an eighth of each unsigned code."""
    context = make_context()
    module = ir.Module.parse((GOLDEN / "tabulate_codes.in.mlir").read_text(), context)
    unit = Unit(module, WeightStore(), AVX512)
    _ROWS["tabulate_codes"](unit)
    x = np.arange(256) / 8
    with np.errstate(invalid="ignore"):
        expected = np.tanh([math.erf(each) for each in x]) / x
    np.testing.assert_allclose(unit.weights.dense("table"), expected, rtol=1e-6)


def test_prune_channels_keeps_the_numbers() -> None:
    """Filter 3 of the first layer is empty: its constant relu(5) moves into the second layer."""
    context = make_context()
    module = ir.Module.parse((GOLDEN / "prune_channels.in.mlir").read_text(), context)
    unit = Unit(module, WeightStore(WEIGHTS["prune_channels"]), AVX512)
    _ROWS["prune_channels"](unit)
    assert unit.weights.dense("w1/pruned").shape == (3, 3, 1, 1)
    assert unit.weights.dense("w2/pruned").shape == (2, 3, 1, 1)
    np.testing.assert_array_equal(unit.weights.dense("constant_channels"), [5, 5])


def _main_text(module: ir.Module) -> str:
    """The module without the bodies of generated kernels, which have tests of their own."""
    copy = ir.Module.parse(str(module), module.context)
    for op in [item.operation for item in copy.body.operations]:
        if op.name == "builtin.module":
            op.erase()
    return copy.operation.get_asm(assume_verified=True)
