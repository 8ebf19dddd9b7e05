"""Compiled programs and their files: a `Program` goes in and comes out of a `.sparsec` file, checked both times.

    program     what a program is             check      whether it is consistent
    container   the zip of mapped members     file       manifest and blobs, of every kind of program
    manifest    a program as such             fields     JSON values, taken for what they should be

Needs NumPy and the standard library only. What is for GPUs has a manifest of its own (`sparsec.cuda`), in the same file.
"""

from __future__ import annotations

import os

from sparsec.artifact.check import check
from sparsec.artifact.fields import JsonObject, JsonValue
from sparsec.artifact.file import FORMAT_VERSION, read_file, write_file
from sparsec.artifact.manifest import KIND, blobs_of, facts_of, program_of
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
    "program_of",
    "read",
    "write",
]


def write(program: Program, path: str | os.PathLike[str]) -> None:
    """Write `program` to `path`, whole or not at all; equal programs give equal bytes. Raises `ArtifactError`."""
    check(program)
    write_file(path, KIND, facts_of(program), blobs_of(program))


def read(path: str | os.PathLike[str], *, verify: bool = True) -> Program:
    """Map the artifact at `path`: weights stay in the file (read-only, paged in on use).

    `verify=False` skips the checksums of code and weights. Raises `ArtifactError` if the file is damaged, of another
    format version, for another kind of processor, or not an artifact.
    """
    return read_file(path, {KIND: program_of}, verify=verify)
