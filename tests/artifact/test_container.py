"""Members of the file: where they are, what standard tools say, and what is damaged."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec import artifact
from sparsec.artifact import (
    container,
)
from sparsec.errors import ArtifactError
from tests.artifact.small import same, small_program


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
    monkeypatch.setattr(container, "_ZIP64_BYTES", 0)
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


@settings(max_examples=400)
@given(data=st.data())
def test_a_flipped_byte_is_noticed_or_harmless(written: bytes, scratch: Path, data: st.DataObject) -> None:
    interesting = st.integers(0, 1200) | st.integers(len(written) - 14000, len(written) - 1)
    position = data.draw(interesting | st.integers(0, len(written) - 1))
    flip = data.draw(st.integers(1, 255))
    damaged = bytearray(written)
    damaged[position] ^= flip
    _read_or_refuse(bytes(damaged), scratch)


@settings(max_examples=150)
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


def test_compressed_members_are_refused(written: bytes, scratch: Path) -> None:
    scratch.write_bytes(written)
    with zipfile.ZipFile(scratch) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ArtifactError, match="compressed or encrypted"):
        artifact.read(scratch)
