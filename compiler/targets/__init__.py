"""Targets: LLVM IR text of kernels and a target's name go in, a flat code image goes out.

`TARGETS` has one row per instruction set; `resolve` finds a row, and "native" is the best row that this machine can
run. `backend` drives LLVM (import it only to compile), `llvm_text` bridges its versions, `flat_image` links.
"""

from __future__ import annotations

from collections.abc import Mapping

from sparsec.errors import TargetError
from sparsec.targets import (
    aarch64,
    aarch64_dotprod,
    aarch64_fp16,
    aarch64_i8mm,
    wasm32,
    wasm32_relaxed,
    wasm32_relaxed_threads,
    wasm32_threads,
    x86_64_v3,
    x86_64_v3_vnni,
    x86_64_v4,
    x86_64_v4_amx,
    x86_64_v4_bf16,
    x86_64_v4_vnni,
)
from sparsec.targets.target import Target

__all__ = ["GPU", "NATIVE", "TARGETS", "Target", "host_features", "resolve"]

NATIVE = "native"
GPU = "cuda"  # which is compiled for elsewhere (`sparsec.device.program`), with GPUs by name behind a colon

# In order of preference for "native", the best last.
TARGETS: Mapping[str, Target] = {
    "x86-64-v3": x86_64_v3.TARGET,
    "x86-64-v3-vnni": x86_64_v3_vnni.TARGET,
    "x86-64-v4": x86_64_v4.TARGET,
    "x86-64-v4-vnni": x86_64_v4_vnni.TARGET,
    "x86-64-v4-bf16": x86_64_v4_bf16.TARGET,
    "x86-64-v4-amx": x86_64_v4_amx.TARGET,
    "aarch64": aarch64.TARGET,
    "aarch64-dotprod": aarch64_dotprod.TARGET,
    "aarch64-fp16": aarch64_fp16.TARGET,
    "aarch64-i8mm": aarch64_i8mm.TARGET,
    "wasm32": wasm32.TARGET,
    "wasm32-relaxed": wasm32_relaxed.TARGET,
    "wasm32-threads": wasm32_threads.TARGET,
    "wasm32-relaxed-threads": wasm32_relaxed_threads.TARGET,
}


def resolve(name: str) -> Target:
    """Return the target called `name`; "native" means the last row of `TARGETS` whose features this machine has.

    Raises `TargetError` if there is none.
    """
    if name in TARGETS:
        return TARGETS[name]
    if name.partition(":")[0] == GPU:
        raise TargetError("This is done for processors only, not for GPUs.", expected=", ".join(TARGETS), got=name)
    known = ", ".join((NATIVE, *TARGETS, GPU))
    if name != NATIVE:
        raise TargetError("There is no such target.", expected=known, got=name)
    triple, features = _host()
    fitting = [
        each for each in TARGETS.values() if _same_machine(each.triple, triple) and features.issuperset(each.requires)
    ]
    if not fitting:
        raise TargetError(
            "This machine is not one that sparsec compiles for.",
            expected=known,
            got=triple,
            next_step="name a --target",
        )
    return fitting[-1]


def host_features() -> frozenset[str]:
    """Return the features of this machine, by LLVM's names."""
    return _host()[1]


def _host() -> tuple[str, frozenset[str]]:
    import llvmlite.binding as llvm  # slow to load, and listing targets does not need it

    present = frozenset(name for name, has in llvm.get_host_cpu_features().items() if has)
    return llvm.get_default_triple(), present


def _same_machine(one: str, other: str) -> bool:
    return one.split("-")[0] == other.split("-")[0]
