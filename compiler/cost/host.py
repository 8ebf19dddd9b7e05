"""What this machine says of itself: its processor's name and the sizes of its caches."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_SYSTEM = Path("/sys/devices/system/cpu")
_UNITS = {"K": 10, "M": 20, "G": 30}


def cpu_name() -> str:
    """The processor by its maker's name."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def machine_id() -> str:
    """The key of everything measured here: name, family, model and stepping of the processor."""
    numbers = [_cpuinfo().get(each, "") for each in ("vendor_id", "cpu family", "model", "stepping")]
    return " ".join([cpu_name(), ".".join(number for number in numbers if number)]).strip()


def core_count() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_sizes(system: Path = _SYSTEM) -> Mapping[int, int]:
    """Bytes of the data caches by level, as a core that this process may use sees them; empty where nobody says."""
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    sizes: dict[int, int] = {}
    for folder in sorted((system / f"cpu{core}" / "cache").glob("index*")):
        try:
            kind, level, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
            if kind in ("Data", "Unified"):
                sizes[int(level)] = _bytes(size)
        except (OSError, ValueError):
            continue
    return sizes


def _bytes(text: str) -> int:
    """Read "48K"."""
    return int(text[:-1]) << _UNITS[text[-1]] if text[-1:] in _UNITS else int(text)


@cache
def _cpuinfo() -> Mapping[str, str]:
    """The lines on the first processor."""
    try:
        first = _CPUINFO.read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
