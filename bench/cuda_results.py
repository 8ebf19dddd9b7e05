"""What `python -m bench cuda` keeps of a part of its table, and of which GPU it is."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsec.cuda.device.driver import device

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def machine_line() -> str:
    """Which GPU, driver and torch a part of the table is of, as it begins."""
    import torch

    gpu = device(0)
    return f"{gpu.name}, driver {driver_release()} for CUDA {gpu.driver}, torch {torch.__version__}"


def driver_release() -> str:
    """The driver's own number, which the driver does not tell but its management library; "unknown" without that."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return "unknown"
    text = ctypes.create_string_buffer(80)
    done = library.nvmlInit_v2() or library.nvmlSystemGetDriverVersion(text, len(text))
    return "unknown" if done else text.value.decode()


def keep(json_file: Path, rows: Sequence[DataclassInstance], **about: Any) -> None:
    """Write the rows, and what device, driver and torch they are of; a file is whole at any time."""
    import torch

    gpu = device(0)
    facts = {"device": gpu.name, "driver": gpu.driver, "driver_release": driver_release(), "torch": torch.__version__}
    document = {**facts, **about, "date": time.strftime("%Y-%m-%d"), "rows": [asdict(row) for row in rows]}
    being_written = json_file.with_name(json_file.name + ".part")
    being_written.write_text(json.dumps(document, indent=1) + "\n")
    being_written.replace(json_file)
