"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

_UNFINISHED = ".partial"


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to be written in the block, which appears at `path` when the block ends, in the place of one that is there.

    If the block raises, nothing changes. Where `path` is a link, the file goes where it points. What is there and is no
    file (a pipe, /dev/null) stays what it is, and is sent the bytes at the end. Raises `OSError` that names `path`.
    """
    opened = _sent_at_the_end if path.exists() and not path.is_file() else _renamed_at_the_end
    try:
        with opened(path) as file:
            yield file
    except OSError as error:
        if error.filename is not None and not str(error.filename).endswith(_UNFINISHED):
            raise  # it names this file already, or is about another
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by name into `folder`, which is made if need be, all or none; others in it stay. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as unfinished:
        for name, content in contents.items():
            unfinished.enter_context(whole_file(folder / name)).write(content)


@contextmanager
def _renamed_at_the_end(path: Path) -> Iterator[IO[bytes]]:
    place = Path(os.path.realpath(path))
    unfinished = place.with_name(f".sparsec-{os.urandom(8).hex()}{_UNFINISHED}")  # beside it: renaming copies nothing
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(place)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def _sent_at_the_end(path: Path) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        with path.open("wb") as there:
            shutil.copyfileobj(file, there)
