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
from tests.artifact.small import manifest_of, same, small_program, small_programs, with_manifest


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


def test_programs_for_several_shapes_are_read(tmp_path: Path) -> None:
    artifact.write_all(small_programs(), tmp_path / "a.sparsec")
    found = artifact.read_all(tmp_path / "a.sparsec")
    assert all(same(*pair) for pair in zip(found, small_programs(), strict=True))
    assert all(each.weights is found[0].weights for each in found)
    with pytest.raises(ArtifactError, match=r"for several shapes(.|\n)*3 of them"):
        artifact.read(tmp_path / "a.sparsec")


def test_programs_that_are_not_of_one_network_are_refused(tmp_path: Path) -> None:
    first, second, _ = small_programs()
    other = small_program()
    renamed = dataclasses.replace(second, inputs=(dataclasses.replace(second.inputs[0], name="z"), second.inputs[1]))
    for programs, fault in (
        ((), "there is no program"),
        ((first, first), "two of its shapes are the same"),
        ((first, dataclasses.replace(second, weights=other.weights)), "do not share a network and its weights"),
        ((first, dataclasses.replace(second, name="other")), "do not share a network and its weights"),
        ((first, renamed), "different names or dtypes"),
        ((first, dataclasses.replace(second, arena_bytes=-1)), "arena size is impossible"),
    ):
        with pytest.raises(ArtifactError, match=fault):
            artifact.write_all(programs, tmp_path / "a.sparsec")


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


@pytest.fixture(scope="module")
def written_shapes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an artifact for several shapes."""
    path = tmp_path_factory.mktemp("written") / "shapes.sparsec"
    artifact.write_all(small_programs(), path)
    return path.read_bytes()


@settings(max_examples=300)
@given(data=st.data())
def test_any_other_value_in_the_manifest_is_refused_or_taken(
    written_shapes: bytes, scratch: Path, data: st.DataObject
) -> None:
    written = written_shapes
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
        programs = artifact.read_all(scratch)
    except ArtifactError:
        return
    artifact.check_all(programs)
