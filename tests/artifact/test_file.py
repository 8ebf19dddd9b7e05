"""What all kinds of programs have in common in a file: versions, kinds, sums."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec import artifact
from sparsec.artifact import (
    JsonObject,
)
from sparsec.artifact.file import read_file, write_file
from sparsec.errors import ArtifactError
from tests.artifact.small import manifest_of, same, small_program, with_manifest


def test_equal_programs_give_equal_files(tmp_path: Path, written: bytes) -> None:
    artifact.write(small_program(), tmp_path / "again.sparsec")
    assert (tmp_path / "again.sparsec").read_bytes() == written


def test_another_format_version_says_so(written: bytes, scratch: Path) -> None:
    with_manifest(written, scratch, {"format_version": 99, "sparsec_version": "7.1"})
    with pytest.raises(ArtifactError, match=r"another format version(.|\n)*99 \(written by sparsec 7.1\)"):
        artifact.read(scratch)


def test_an_artifact_of_the_version_before_pieces_is_read(written: bytes, scratch: Path) -> None:
    facts = {key: value for key, value in json.loads(manifest_of(written))["weights"].items() if key != "pieces"}
    with_manifest(written, scratch, {"format_version": 2, "weights": facts})
    assert same(artifact.read(scratch), small_program())


def test_an_artifact_before_there_were_kinds_is_for_a_cpu(written: bytes, scratch: Path) -> None:
    with_manifest(written, scratch, {"format_version": 3, "kind": "cpu"})
    assert same(artifact.read(scratch), small_program())


def test_an_artifact_of_another_kind_is_named(written: bytes, scratch: Path) -> None:
    with_manifest(written, scratch, {"kind": "abacus"})
    with pytest.raises(ArtifactError, match=r"another kind of processor(.|\n)*cpu(.|\n)*abacus"):
        artifact.read(scratch)


@settings(max_examples=50)
@given(
    blobs=st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=8), st.binary(max_size=10_000), max_size=4),
    fact=st.integers() | st.text(),
)
def test_any_facts_and_blobs_are_read(scratch: Path, blobs: dict[str, bytes], fact: int | str) -> None:
    facts: JsonObject = {"report": {"fact": fact}}
    write_file(scratch, "other", facts, {name: memoryview(data) for name, data in blobs.items()})
    found = read_file(scratch, {"other": lambda contents: contents})
    assert found.facts["report"] == facts["report"]
    assert {name: data.tobytes() for name, data in found.blobs.items()} == blobs
