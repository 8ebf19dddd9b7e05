"""A plan's own code for Hopper: kernels that are on the GPU already when the one before them ends.

What is launched so (`Device.launch`) has to wait itself; memory that kernels before it write is not read-only then, so loads
that take it for that (`ld.global.nc`, which may also be moved before the wait) become others. PTX ISA, 9.7.13, griddepcontrol.
"""

from __future__ import annotations

import re

_TARGET, _VERSION = "sm_90", (7, 8)  # the first that have the instruction
_ENTRY = re.compile(r"(\.entry [^{]*\{)")
_WAIT = "\n\tgriddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;"


def overlapping(ptx: str) -> str:
    """The code for compute capability 9.0 where each kernel lets the next one begin, and waits for the one before it."""
    found = re.search(r"^\.version (\d+)\.(\d+)", ptx, re.MULTILINE)
    assert found is not None, "PTX without a version"
    version = max(_VERSION, (int(found[1]), int(found[2])))
    ptx = ptx.replace(found[0], f".version {version[0]}.{version[1]}", 1)
    ptx = re.sub(r"^\.target sm_8\d", f".target {_TARGET}", ptx, count=1, flags=re.MULTILINE)
    return _ENTRY.sub(rf"\1{_WAIT}", ptx.replace("ld.global.nc.", "ld.global."))
