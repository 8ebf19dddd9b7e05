"""How weights are stored, and artifacts with weights stored as float16."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import sparsec
from sparsec.artifact import Plan, Program, TargetSpec
from sparsec.errors import UsageError
from sparsec.reference import OnnxRuntime
from sparsec.runtime import Session
from sparsec.storage import LARGEST, LEAST_ELEMENTS, stored_in_half
from sparsec.verify import verify
from tests.rounded_models import pruned_layers
from tests.tune.models import two_layers


def plan_of(weights: NDArray[np.generic], floats: tuple[tuple[int, int], ...]) -> Plan:
    return Plan("p", TargetSpec("wasm32", "wasm32", ()), (), (), 0, (), weights.view(np.uint8), {}, floats=floats)


@settings(max_examples=60)
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
    (stored,) = stored_in_half([plan])
    assert stored.weight_bytes == plan.weights.nbytes
    rest, found = stored.weights, []
    for piece in stored.pieces:
        size = piece.bytes // 2 if piece.half else piece.bytes
        part, rest = rest[:size], rest[size:]
        found.append(part.view(np.float16).astype(np.float32).view(np.uint8) if piece.half else part)
    assert not rest.size
    expected = plan.weights.copy()
    for offset, count in floats:
        if count >= LEAST_ELEMENTS:
            rounded = expected[offset : offset + 4 * count].view(np.float32)
            rounded[:] = rounded.astype(np.float16)
    np.testing.assert_array_equal(np.concatenate(found), expected)


@pytest.mark.parametrize("outlier", [np.inf, np.nan, 1.1 * LARGEST])
def test_numbers_that_float16_has_not_stay(outlier: float) -> None:
    array = np.ones(128, np.float32)
    array[5] = outlier
    (stored,) = stored_in_half([plan_of(array, ((0, 128),))])
    assert not any(piece.half for piece in stored.pieces)
    assert stored.weights.tobytes() == array.tobytes()
    (note,) = stored.report["notes"]
    assert "float16 has not: 1" in note


def test_arrays_of_an_odd_number_of_halves_are_stored() -> None:
    """The next array then starts at an address of the file that is no multiple of four."""
    plan = plan_of(np.arange(160, dtype=np.float32), ((0, 65), (320, 80)))
    (stored,) = stored_in_half([plan])
    assert [(piece.bytes, piece.half) for piece in stored.pieces] == [
        (0, False),
        (260, True),
        (60, False),
        (320, True),
        (0, False),
    ]
    assert stored.weights.nbytes == 130 + 60 + 160


def feeds() -> dict[str, NDArray[np.float32]]:
    return {"x": np.random.default_rng(1).standard_normal((32, 24)).astype(np.float32)}


def widened(program: Program) -> Program:
    """The program with the weights that NumPy makes of its pieces."""
    parts, at = list[NDArray[np.uint8]](), 0
    for piece in program.pieces:
        part = program.weights[at : at + piece.stored_bytes]
        parts.append(part.copy().view(np.float16).astype(np.float32).view(np.uint8) if piece.half else part)
        at += piece.stored_bytes
    return replace(program, weights=np.concatenate(parts), pieces=())


def test_an_artifact_of_half_the_bytes_computes_with_rounded_weights(tmp_path: Path) -> None:
    path = tmp_path / "half.sparsec"
    model = sparsec.compile(pruned_layers(), storage="fp16", use_measurements=False)
    model.save(path)
    loaded = sparsec.load(path)
    program = loaded.session.program
    with Session(widened(program)) as session:
        expected = session.run(feeds())["y"]
    np.testing.assert_array_equal(model.run(feeds())["y"], expected)
    np.testing.assert_array_equal(loaded.run(feeds())["y"], expected)
    assert not np.array_equal(sparsec.compile(pruned_layers(), use_measurements=False).run(feeds())["y"], expected)
    halves = sum(piece.bytes for piece in program.pieces if piece.half)
    assert program.weights.nbytes == program.weight_bytes - halves // 2
    assert loaded.report.storage == "fp16"
    with zipfile.ZipFile(path) as archive:
        pieces = json.loads(archive.read("manifest.json"))["weights"]["pieces"]
    assert {stored_as for _, stored_as in pieces} == {"bytes", "float16"}


def test_the_error_of_rounding_is_stated(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    path.write_bytes(pruned_layers().SerializeToString())
    result = verify(sparsec.compile(path, storage="fp16"), OnnxRuntime(str(path)), feeds())
    assert result.passed
    assert result.storage == "fp16"
    assert 1e-5 < result.relative_error < 1e-3


def test_packed_numbers_among_indices_stay_and_the_report_says_so() -> None:
    model = sparsec.compile(two_layers(), target="x86-64-v3", use_measurements=False, storage="fp16")
    half = sum(piece.bytes for piece in model.session.program.pieces if piece.half)
    total = model.session.program.weight_bytes
    assert f"of {total:,} bytes of weights in memory, {half:,} are stored as float16" in model.report.notes


def test_an_unknown_storage_is_refused() -> None:
    with pytest.raises(UsageError, match="no such storage"):
        sparsec.compile(two_layers(), storage="fp4")
