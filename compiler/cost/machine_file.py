"""Calibrated machines on disk: one JSON file per processor and target in the user's cache folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sparsec.cost.host import machine_id
from sparsec.cost.machine import GENERIC, Machine
from sparsec.environment import cache_folder
from sparsec.errors import SparsecError
from sparsec.whole_file import whole_file

_VERSION = 1
_MEASURED = {field.name for field in fields(Machine)} - {
    "far_cores",
    "memory_cores",
    "threads",
}  # on a single core, too


@dataclass(frozen=True, slots=True)
class Known:
    """The machine that predictions are for, and a sentence that says where its figures come from."""

    machine: Machine
    note: str


def machine_path(target: str) -> Path:
    """Where the calibration of this processor for `target` is kept."""
    slug = re.sub(r"[^a-z0-9]+", "-", machine_id().lower()).strip("-")
    return cache_folder() / f"machine-{slug}-{target}.json"


def load_machine(target: str) -> Known:
    """This machine as it was calibrated for `target`, or else `GENERIC`."""
    path = machine_path(target)
    try:
        document = json.loads(path.read_text())
        machine = _machine(document)
        return Known(machine, f"predictions are for {machine.name}, calibrated {document['calibrated']}")
    except (FileNotFoundError, NotADirectoryError):
        why = ""
    except (OSError, ValueError, TypeError, KeyError) as error:
        why = f" (the calibration in {path} cannot be read: {type(error).__name__}: {error})"
    return Known(
        GENERIC, f"predictions are for a generic machine{why}; `sparsec targets --calibrate` measures this one"
    )


def store_machine(machine: Machine, target: str, calibrated: str) -> Path:
    """Write the file, whole or not at all, and return its path; `calibrated` is the date. Raises `SparsecError`."""
    path = machine_path(target)
    document = {"version": _VERSION, "calibrated": calibrated, "target": target, "machine": asdict(machine)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(json.dumps(document, indent=1).encode())
    except OSError as error:
        raise SparsecError(
            "The calibration cannot be kept.",
            where=str(path),
            got=error.strerror,
            next_step="set XDG_CACHE_HOME to a folder that may be written to",
        ) from error
    return path


def _machine(document: object) -> Machine:
    """Raises `ValueError`, `TypeError` or `KeyError` for anything that `store_machine` would not write."""
    if not isinstance(document, Mapping) or document["version"] != _VERSION:
        raise ValueError("another version")
    facts = document["machine"]
    known = {field.name for field in fields(Machine)}
    if not isinstance(document["calibrated"], str) or not _MEASURED <= facts.keys() <= known:
        raise ValueError("other fields than expected")
    for name, value in facts.items():
        if name == "name":
            fits = isinstance(value, str)
        else:
            kinds = (int,) if isinstance(getattr(GENERIC, name), int) else (int, float)
            fits = type(value) in kinds and math.isfinite(value) and value > 0
        if not fits:
            raise ValueError(f"{name} is {value!r}")
    return Machine(**facts)
