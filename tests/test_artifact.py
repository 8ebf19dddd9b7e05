"""The `.sparsec` file: round trip, standard tools, and damage of every kind."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec import artifact
from sparsec.artifact import (
    Buffer,
    CodeImage,
    JsonObject,
    JsonValue,
    Piece,
    Program,
    Space,
    Step,
    TargetSpec,
    TensorSpec,
)
from sparsec.errors import ArtifactError

IMAGE = bytes(range(256)) * 16 + bytes(16)


def small_program(weights: int = 5000) -> Program:
    return Program(
        name="small",
        target=TargetSpec("x86_64-unknown-linux-gnu", "x86-64-v3", ("avx2", "fma")),
        inputs=(TensorSpec("x", "float32", (2, 3)), TensorSpec("mask", "bool", ())),
        outputs=(TensorSpec("y", "bfloat16", (6,)),),
        arena_bytes=4096,
        steps=(
            Step("relu", (Buffer(Space.INPUT, 0), Buffer(Space.ARENA, 64)), 6, 6, "relu.0"),
            Step("gemm", (Buffer(Space.ARENA, 64), Buffer(Space.WEIGHTS, 128), Buffer(Space.OUTPUT, 0)), 6, 2, "fc"),
        ),
        code=CodeImage(IMAGE, 4096, {"relu": 0, "gemm": 64}, {"expf": 4096, "memcpy": 4104}),
        weights=np.arange(weights, dtype=np.uint32).astype(np.uint8),
        report={"layers": [{"name": "fc", "density": 0.25}]},
    )


def same(one: Program, other: Program) -> bool:
    names = [field.name for field in dataclasses.fields(Program) if field.name != "weights"]
    equal = all(getattr(one, name) == getattr(other, name) for name in names)
    return equal and bool(np.array_equal(one.weights, other.weights))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("artifact") / "small.sparsec"
    artifact.write(small_program(), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "damaged.sparsec"


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


def test_equal_programs_give_equal_files(tmp_path: Path, written: bytes) -> None:
    artifact.write(small_program(), tmp_path / "again.sparsec")
    assert (tmp_path / "again.sparsec").read_bytes() == written


def test_weights_are_a_read_only_map_at_a_page_boundary(tmp_path: Path) -> None:
    artifact.write(small_program(), tmp_path / "a.sparsec")
    weights = artifact.read(tmp_path / "a.sparsec").weights
    assert weights.ctypes.data % artifact.PAGE == 0
    with pytest.raises(ValueError, match="read-only"):
        weights[0] = 1


def test_standard_tools_test_the_file(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "a.sparsec").write_bytes(written)
    with zipfile.ZipFile(tmp_path / "a.sparsec") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "code.bin", "weights.bin"]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert json.loads(archive.read("manifest.json"))["format_version"] == artifact.FORMAT_VERSION


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.sparsec"
    path.write_bytes(b"old")
    unwritable = dataclasses.replace(small_program(), report={"bad": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        artifact.write(unwritable, path)
    assert os.listdir(tmp_path) == ["a.sparsec"]
    assert path.read_bytes() == b"old"


def test_an_unwritable_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot be written(.|\n)*No such file"):
        artifact.write(small_program(), tmp_path / "none" / "a.sparsec")


def test_members_with_64_bit_sizes_start_at_pages_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "_ZIP64_BYTES", 0)
    artifact.write(small_program(), tmp_path / "a.sparsec")
    assert same(artifact.read(tmp_path / "a.sparsec"), small_program())
    with zipfile.ZipFile(tmp_path / "a.sparsec") as archive:
        assert archive.testzip() is None


def _read_or_refuse(data: bytes, scratch: Path) -> None:
    scratch.write_bytes(data)
    try:
        program = artifact.read(scratch)
    except ArtifactError:
        return
    assert same(program, small_program())


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_is_noticed_or_harmless(written: bytes, scratch: Path, data: st.DataObject) -> None:
    interesting = st.integers(0, 1200) | st.integers(len(written) - 14000, len(written) - 1)
    position = data.draw(interesting | st.integers(0, len(written) - 1))
    flip = data.draw(st.integers(1, 255))
    damaged = bytearray(written)
    damaged[position] ^= flip
    _read_or_refuse(bytes(damaged), scratch)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_truncated_file_is_refused(written: bytes, scratch: Path, data: st.DataObject) -> None:
    scratch.write_bytes(written[: data.draw(st.integers(0, len(written) - 1))])
    with pytest.raises(ArtifactError):
        artifact.read(scratch)


@pytest.mark.parametrize("member", ["code.bin", "weights.bin", "manifest.json"])
def test_a_flipped_bit_in_a_member_is_named(written: bytes, scratch: Path, member: str) -> None:
    scratch.write_bytes(written)
    with zipfile.ZipFile(scratch) as archive:
        info = archive.getinfo(member)
    start = info.header_offset + artifact.PAGE - info.header_offset % artifact.PAGE
    damaged = bytearray(written)
    damaged[start + 20] ^= 1
    scratch.write_bytes(damaged)
    with pytest.raises(ArtifactError, match="checksum does not match"):
        artifact.read(scratch)


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all" * 1000, bytes(10000)])
def test_what_is_not_an_artifact_is_refused(scratch: Path, data: bytes) -> None:
    scratch.write_bytes(data)
    with pytest.raises(ArtifactError, match="not a readable sparsec artifact"):
        artifact.read(scratch)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be opened"):
        artifact.read(tmp_path / "none.sparsec")


def _with_manifest(written: bytes, scratch: Path, change: JsonObject) -> None:
    """Write the artifact with other top-level manifest keys, and with checksums that fit."""
    scratch.write_bytes(written)
    with zipfile.ZipFile(scratch) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = {**json.loads(members["manifest.json"]), **change}
    with zipfile.ZipFile(scratch, "w") as archive:
        for name, content in {**members, "manifest.json": json.dumps(manifest).encode()}.items():
            artifact._add(archive, name, memoryview(content))


def test_another_format_version_says_so(written: bytes, scratch: Path) -> None:
    _with_manifest(written, scratch, {"format_version": 99, "sparsec_version": "7.1"})
    with pytest.raises(ArtifactError, match=r"another format version(.|\n)*99 \(written by sparsec 7.1\)"):
        artifact.read(scratch)


def test_an_artifact_of_the_version_before_pieces_is_read(written: bytes, scratch: Path) -> None:
    facts = {key: value for key, value in json.loads(_manifest_of(written))["weights"].items() if key != "pieces"}
    _with_manifest(written, scratch, {"format_version": 2, "weights": facts})
    assert same(artifact.read(scratch), small_program())


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
    facts = json.loads(_manifest_of(written))["weights"]
    _with_manifest(written, scratch, {"weights": {**facts, "pieces": pieces}})
    with pytest.raises(ArtifactError, match=message):
        artifact.read(scratch)


_STEP = {"kernel": "relu", "layer": "l", "extent": 6, "grain": 6, "args": [["input", 0]]}
_CODE = {"bytes": len(IMAGE), "crc32": zlib.crc32(IMAGE), "writable_offset": 4096, "entries": {"relu": 0, "gemm": 64}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [{**_STEP, "args": [["input", 2]]}]}, "points outside input at 2"),
        ({"steps": [{**_STEP, "args": [["output", -1]]}]}, "points outside output at -1"),
        ({"steps": [{**_STEP, "args": [["weights", 5001]]}]}, "points outside weights"),
        ({"steps": [{**_STEP, "args": [["arena", 2**40]]}]}, "points outside arena"),
        ({"steps": [{**_STEP, "args": [["stack", 0]]}]}, "damaged, truncated or something else"),
        ({"steps": [{**_STEP, "args": [["input", True]]}]}, "damaged, truncated or something else"),
        ({"steps": [{**_STEP, "kernel": "missing"}]}, "calls a kernel that is not in the code"),
        ({"steps": [{**_STEP, "grain": 0}]}, "impossible extent or grain"),
        ({"steps": [{**_STEP, "extent": -1}]}, "impossible extent or grain"),
        ({"steps": {}}, "damaged, truncated or something else"),
        ({"code": {**_CODE, "entries": {"relu": 4096, "gemm": 0}, "imports": {}}}, "entry 'relu' lies outside"),
        ({"code": {**_CODE, "imports": {"expf": 0}}}, "slot of import 'expf' lies outside"),
        ({"code": {**_CODE, "imports": {"expf": 4108}}}, "slot of import 'expf' lies outside"),
        ({"code": {**_CODE, "imports": {}, "writable_offset": 100}}, "does not start at a page"),
        ({"code": {**_CODE, "imports": {}, "writable_offset": 8192}}, "starts outside the image"),
        ({"inputs": [{"name": "x", "dtype": "float31", "shape": []}]}, "unknown dtype 'float31'"),
        ({"inputs": [{"name": "x", "dtype": "float32", "shape": [-1]}]}, "impossible shape"),
        ({"inputs": [{"name": "x", "dtype": "float32", "shape": []}] * 2}, "two inputs have the same name"),
        ({"arena_bytes": -5}, "arena size is impossible"),
        ({"weights": {"bytes": 1, "crc32": 0}}, "wrong size"),
        ({"format": "other"}, "not a sparsec artifact"),
    ],
)
def test_an_impossible_manifest_is_refused(written: bytes, scratch: Path, change: JsonObject, message: str) -> None:
    _with_manifest(written, scratch, change)
    with pytest.raises(ArtifactError, match=message):
        artifact.read(scratch)


def _manifest_of(written: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        return archive.read("manifest.json")


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
    manifest = json.loads(_manifest_of(written))
    places = [path for path in _paths(manifest) if path]
    *parents, last = data.draw(st.sampled_from(places))
    numbers = st.integers(-(2**70), 2**70) | st.integers(-1, 5000) | st.floats()
    scalars = numbers | st.text(max_size=5) | st.booleans() | st.none()
    parent = manifest
    for key in parents:
        parent = parent[key]
    parent[last] = data.draw(scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(), scalars, max_size=2))
    _with_manifest(written, scratch, manifest)
    try:
        program = artifact.read(scratch)
    except ArtifactError:
        return
    artifact.check(program)


def test_compressed_members_are_refused(written: bytes, scratch: Path) -> None:
    scratch.write_bytes(written)
    with zipfile.ZipFile(scratch) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ArtifactError, match="compressed or encrypted"):
        artifact.read(scratch)
