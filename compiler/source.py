"""Sources of models: telling files apart (an artifact, an exported torch program, anything else an ONNX model), and reading
them."""

from __future__ import annotations

import os
import zipfile
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sparsec.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from sparsec.options import Readable

    Source: TypeAlias = Readable | os.PathLike[str]  # what users name: a path is of any kind of file


class Kind(Enum):
    """What a file holds."""

    ARTIFACT = "artifact"
    EXPORTED_PROGRAM = "exported program"
    ONNX = "ONNX model"


_ZIP_MAGIC = b"PK\x03\x04"


def kind_of(path: str | os.PathLike[str]) -> Kind:
    """Look at the name, and at the beginning of the file; raises `ModelError` if it cannot be read, or only once."""
    path = Path(path)
    if path.is_fifo() or path.is_char_device():
        raise ModelError("The model cannot be read: it is a pipe or a device.", where=str(path), expected="a file")
    if path.suffix == ".sparsec":
        return Kind.ARTIFACT
    if path.suffix == ".pt2":
        return Kind.EXPORTED_PROGRAM
    try:
        with path.open("rb") as file:
            if file.read(4) != _ZIP_MAGIC:
                return Kind.ONNX
    except OSError as error:
        raise ModelError(f"The model cannot be read: {error.strerror}.", where=str(path)) from error
    return Kind.ARTIFACT if "manifest.json" in _members(path) else Kind.EXPORTED_PROGRAM


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return ["manifest.json"]  # a zip that was cut; the reader of artifacts says so best


def read_exported(path: str | os.PathLike[str]) -> ExportedProgram:
    """Load what `torch.export.save` wrote.

    Raises `UsageError` without torch, `ModelError` if the file is something else.
    """
    try:
        import torch

        from sparsec.frontends.torch_export import quiet
    except ImportError as error:
        raise UsageError(
            "A .pt2 file needs torch, which is not installed.",
            where=str(path),
            next_step="pip install 'sparsec[torch]'",
        ) from error
    try:
        with quiet():
            return torch.export.load(path)
    except Exception as error:  # torch raises a dozen kinds of errors on damaged input
        raise ModelError(
            "This is not a program that torch.export.save wrote, or it is damaged.",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
        ) from error


def readable(source: Source) -> Readable:
    """A path becomes what the driver takes: the path of an ONNX file, or the program in a `.pt2` file."""
    if not isinstance(source, (str, os.PathLike)):
        return source
    match kind_of(source):
        case Kind.EXPORTED_PROGRAM:
            return read_exported(source)
        case Kind.ARTIFACT:
            raise ModelError(
                "This is a compiled artifact, not a model.",
                where=str(source),
                next_step="sparsec run, or sparsec.load in Python",
            )
        case Kind.ONNX:
            return os.fspath(source)
