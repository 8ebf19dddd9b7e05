"""Finding native libraries that packages of this interpreter brought along."""

from __future__ import annotations

import ctypes.util
from importlib import metadata
from pathlib import Path

from bench.peers.peer import AbsentError


def packaged_library(package: str, stem: str) -> Path:
    """The file `<stem>.so*` that the package installed, else the system's; raises `AbsentError`."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        files = []
    found = sorted(Path(str(file.locate())).resolve() for file in files if file.name.startswith(f"{stem}.so"))
    if found:
        return found[0]
    system = ctypes.util.find_library(stem.removeprefix("lib"))
    if system is None:
        raise AbsentError(f"there is no {stem}.so")
    return Path(system)
