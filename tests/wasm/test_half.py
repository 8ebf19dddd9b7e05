"""Weights that are stored as float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from bench.wasm_engines.module import Instance, WasmModel
from bench.wasm_engines.table import ENGINES
from sparsec.artifact import Piece, Plan, TargetSpec
from sparsec.driver import Options, compile_wasm
from sparsec.targets import TARGETS, parallel
from sparsec.targets.wasm_half import LARGEST, stored_in_half, widening
from sparsec.targets.wasm_link import link
from sparsec.wasm_package import package_files, write_package
from tests.tune.models import two_layers

SOURCE, TARGET = 1 << 20, 2 << 20
QUIET = Options("wasm32", use_measurements=False)


def plan_of(weights: np.ndarray, floats: tuple[tuple[int, int], ...]) -> Plan:
    return Plan("p", TargetSpec("wasm32", "wasm32", ()), (), (), 0, (), weights.view(np.uint8), {}, floats=floats)


def test_every_half_is_widened_exactly() -> None:
    """All finite ones, subnormal ones and both zeros among them."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    pieces = (Piece(4, False), Piece(4 * halves.size, True), Piece(8, False))
    source = widening(pieces, SOURCE, TARGET).replace("define internal", "define")
    code = parallel.emit_object(source, TARGETS["wasm32"], ())
    module = link([code], stack_top=1 << 16, constants=TARGET + (1 << 20), exports=["widen"], segments=[], sections={})
    instance = Instance(module)
    stored = b"abcd" + halves.tobytes() + b"12345678"
    instance.write(SOURCE, np.frombuffer(stored, np.uint8))
    instance.call("widen")
    assert instance.read(TARGET, "uint8", 4).tobytes() == b"abcd"
    got = instance.read(TARGET + 4, "uint32", halves.size)
    np.testing.assert_array_equal(got, halves.astype(np.float32).view(np.uint32))
    assert instance.read(TARGET + 4 + 4 * halves.size, "uint8", 8).tobytes() == b"12345678"
    instance.write(TARGET, np.zeros(4, np.uint8))
    instance.call("widen")
    assert instance.read(TARGET, "uint32", 1)[0] == 0, "only the first call does it"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 6)), max_size=6), st.integers(0, 1 << 20))
def test_pieces_make_up_all_weights(arrays: list[tuple[bool, int]], seed: int) -> None:
    """Arrays of float32 and of something else, in any order, each of whole lines."""
    random = np.random.default_rng(seed)
    parts, floats, at = [], [], 0
    for is_float, lines in arrays:
        array = random.standard_normal(lines * 16).astype(np.float32)
        parts.append(array.view(np.uint8))
        if is_float:
            floats.append((at, array.size))
        at += array.nbytes
    plan = plan_of(np.concatenate([np.zeros(0, np.uint8), *parts]), tuple(floats))
    stored = stored_in_half(plan)
    assert stored.weight_bytes == plan.weights.nbytes
    rest, found = stored.weights, []
    for piece in stored.pieces:
        size = piece.bytes // 2 if piece.half else piece.bytes
        part, rest = rest[:size], rest[size:]
        found.append(part.view(np.float16).astype(np.float32).view(np.uint8) if piece.half else part)
    assert not rest.size
    expected = plan.weights.copy()
    for offset, count in floats:
        if count >= 64:
            rounded = expected[offset : offset + 4 * count].view(np.float32)
            rounded[:] = rounded.astype(np.float16)
    np.testing.assert_array_equal(np.concatenate(found), expected)


@pytest.mark.parametrize("outlier", [np.inf, np.nan, 1.1 * LARGEST])
def test_numbers_that_float16_has_not_stay(outlier: float) -> None:
    array = np.ones(128, np.float32)
    array[5] = outlier
    stored = stored_in_half(plan_of(array, ((0, 128),)))
    assert not any(piece.half for piece in stored.pieces)
    assert stored.weights.tobytes() == array.tobytes()


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its long weights rounded to float16."""
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size >= 64:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16).astype(np.float32), tensor.name))
    return model


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("inside", [True, False])
def test_outputs_are_those_of_rounded_weights(engine: str, inside: bool, tmp_path: Path) -> None:
    missing = ENGINES[engine].missing()
    if missing is not None:
        pytest.skip(missing)
    plan, module = compile_wasm(two_layers(), QUIET, weights_inside=inside, half_weights=True)
    write_package(tmp_path, package_files(plan, module, weights_inside=inside))
    feeds = {"x": np.random.default_rng(1).standard_normal((32, 24)).astype(np.float32)}
    whole, other = compile_wasm(rounded(two_layers()), QUIET)
    assert plan.weights.nbytes < 0.8 * whole.weights.nbytes
    expected = WasmModel(other).run(feeds)["y"]
    for _ in range(2):
        np.testing.assert_array_equal(ENGINES[engine].run(tmp_path, feeds)["y"], expected.reshape(-1))
