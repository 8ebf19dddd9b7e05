"""Programs as facts and blobs, and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec import artifact
from sparsec.artifact import (
    Buffer,
    JsonValue,
    Piece,
    Space,
)
from sparsec.errors import ArtifactError
from tests.artifact.small import manifest_of, same, small_program, with_manifest


@pytest.mark.parametrize("weights", [128, 129, 5000])
def test_what_is_written_is_read(tmp_path: Path, weights: int) -> None:
    artifact.write(small_program(weights), tmp_path / "a.sparsec")
    assert same(artifact.read(tmp_path / "a.sparsec"), small_program(weights))


def test_weights_in_pieces_are_read(tmp_path: Path) -> None:
    """The steps may name any place in the memory that is made of them."""
    pieces = (Piece(1000, False), Piece(8000, True), Piece(0, False))
    program = dataclasses.replace(small_program(), pieces=pieces)
    argument = Buffer(Space.WEIGHTS, 9000)
    program = dataclasses.replace(program, steps=(dataclasses.replace(program.steps[0], args=(argument,)),))
    artifact.write(program, tmp_path / "a.sparsec")
    assert same(artifact.read(tmp_path / "a.sparsec"), program)


def test_a_program_without_weights_and_steps_is_read(tmp_path: Path) -> None:
    empty = dataclasses.replace(small_program(0), steps=(), arena_bytes=0)
    artifact.write(empty, tmp_path / "a.sparsec")
    assert same(artifact.read(tmp_path / "a.sparsec"), empty)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([[5000, "float8"]], r"does not know(.|\n)*bytes or float16(.|\n)*float8"),
        ([[5000, None]], "does not know"),
        ([[5000, "float16"]], "not what is stored"),
        ([[4999, "bytes"]], "not what is stored"),
        ([[4999, "bytes"], [2, "float16"]], "impossible size"),
        ([[-8, "float16"], [5004, "bytes"]], "impossible size"),
        ([[2**60, "bytes"]], "impossible size"),
        ([[5000.0, "bytes"]], "damaged, truncated or something else"),
        ([5000], "damaged, truncated or something else"),
        (None, "damaged, truncated or something else"),
    ],
)
def test_impossible_pieces_are_refused(written: bytes, scratch: Path, pieces: JsonValue, message: str) -> None:
    facts = json.loads(manifest_of(written))["weights"]
    with_manifest(written, scratch, {"weights": {**facts, "pieces": pieces}})
    with pytest.raises(ArtifactError, match=message):
        artifact.read(scratch)


def _paths(value: JsonValue, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a JSON document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_other_value_in_the_manifest_is_refused_or_taken(
    written: bytes, scratch: Path, data: st.DataObject
) -> None:
    manifest = json.loads(manifest_of(written))
    places = [path for path in _paths(manifest) if path]
    *parents, last = data.draw(st.sampled_from(places))
    numbers = st.integers(-(2**70), 2**70) | st.integers(-1, 5000) | st.floats()
    scalars = numbers | st.text(max_size=5) | st.booleans() | st.none()
    parent = manifest
    for key in parents:
        parent = parent[key]
    parent[last] = data.draw(scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(), scalars, max_size=2))
    with_manifest(written, scratch, manifest)
    try:
        program = artifact.read(scratch)
    except ArtifactError:
        return
    artifact.check(program)
