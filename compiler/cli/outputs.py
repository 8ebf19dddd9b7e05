"""What -o names: asked before the work, and written after it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sparsec.errors import UsageError
from sparsec.whole_file import whole_file

STANDARD_OUTPUT = "-"


def require_writable(path: Path, *, text: bool = False) -> None:
    """Raise `UsageError` if a file cannot be written at `path`; for a `text`, "-" is standard output."""
    if text and str(path) == STANDARD_OUTPUT:
        return
    if fault := _fault(path):
        raise UsageError("The output cannot be written.", where=str(path), got=fault)


def _fault(path: Path) -> str | None:
    folder = Path(os.path.realpath(path)).parent
    if str(path) == STANDARD_OUTPUT:
        return "standard output, which is for messages"
    if path.is_dir():
        return "it is a folder"
    if path.exists() and not path.is_file():  # a pipe or a device, which stays
        return None if os.access(path, os.W_OK) else "it may not be written to"
    if not folder.is_dir():
        return f"there is no folder {folder}"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"the folder {folder} may not be written to"


def write_text(text: str, output: Path | None) -> None:
    """Write a text to a file, whole or not at all, or print it if there is none or it is "-"."""
    if output is None or str(output) == STANDARD_OUTPUT:
        click.echo(text, nl=not text.endswith("\n"))
        return
    with whole_file(output) as file:
        file.write(text.encode())
