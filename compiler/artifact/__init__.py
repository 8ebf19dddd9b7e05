"""Compiled programs and their files: a `Program` goes in and comes out of a `.sparsec` file, checked both times.

    program     what a program is             check      whether it is consistent
    container   the zip of mapped members     file       manifest and blobs, of every kind of program
    manifest    a program as such             fields     JSON values, taken for what they should be

A file has one program for each set of shapes that a network was compiled for; they share its weights, member `weights.bin`. Needs NumPy
and the standard library only. What is for GPUs has a manifest of its own (`sparsec.cuda`), in the same file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from sparsec.artifact.check import check, check_all
from sparsec.artifact.fields import JsonObject, JsonValue
from sparsec.artifact.file import FORMAT_VERSION, read_file, write_file
from sparsec.artifact.manifest import KIND, blobs_of, facts_of, programs_of
from sparsec.artifact.program import (
    NUMPY_DTYPES,
    PAGE,
    WEIGHT_ALIGNMENT,
    Buffer,
    CodeImage,
    Complaint,
    Piece,
    Plan,
    Program,
    Space,
    Step,
    TargetSpec,
    TensorSpec,
)
from sparsec.errors import ArtifactError

__all__ = [
    "FORMAT_VERSION",
    "KIND",
    "NUMPY_DTYPES",
    "PAGE",
    "WEIGHT_ALIGNMENT",
    "Buffer",
    "CodeImage",
    "Complaint",
    "JsonObject",
    "JsonValue",
    "Piece",
    "Plan",
    "Program",
    "Space",
    "Step",
    "TargetSpec",
    "TensorSpec",
    "check",
    "check_all",
    "programs_of",
    "read",
    "read_all",
    "write",
    "write_all",
]


def write(program: Program, path: str | os.PathLike[str]) -> None:
    """Write `program` to `path`, whole or not at all; equal programs give equal bytes. Raises `ArtifactError`."""
    write_all([program], path)


def write_all(programs: Sequence[Program], path: str | os.PathLike[str]) -> None:
    """Write programs of one network for several shapes, which share their weights, to one file, as `write` does."""
    check_all(programs)
    write_file(path, KIND, facts_of(programs), blobs_of(programs))


def read(path: str | os.PathLike[str], *, verify: bool = True) -> Program:
    """Map the artifact at `path`: weights stay in the file (read-only, paged in on use).

    `verify=False` skips the checksums of code and weights. Raises `ArtifactError` if the file is damaged, of another
    format version, for another kind of processor, for several shapes, or not an artifact.
    """
    programs = read_all(path, verify=verify)
    if len(programs) > 1:
        raise ArtifactError("The artifact is for several shapes.", where=str(path), got=f"{len(programs)} of them")
    return programs[0]


def read_all(path: str | os.PathLike[str], *, verify: bool = True) -> tuple[Program, ...]:
    """Map the artifact at `path`, and return its programs, one for each shape, over the same weights, as `read` does."""
    return read_file(path, {KIND: programs_of}, verify=verify)
