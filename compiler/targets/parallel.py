"""Compile the kernels of one module in several processes.

llvmlite holds one lock around all of LLVM, so threads would take turns. Each process gets the whole text and a share of
the entries, drops what those do not need, and returns an object; the linker joins the objects. This file is both sides:
run as a program, it is a worker that reads one request and writes one object.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise

from sparsec.targets import TARGETS, abi
from sparsec.targets.optimiser import optimised, target_machine
from sparsec.targets.target import Target

_BYTES_WORTH_A_PROCESS = 200_000  # of text: most of a second of LLVM, against a fifth to start a process
_DEFINITION = re.compile(r'^define [^@]*@"?([^"(]+)"?\(', re.MULTILINE)


def emit_object(llvm_ir: str, target: Target, entries: Sequence[str], prefix: str = abi.PREFIX) -> bytes:
    """Compile in this process."""
    machine = target_machine(target)
    with optimised(llvm_ir, target, machine, entries, prefix) as module:
        elf: bytes = machine.emit_object(module)
    return elf


def emit_objects(
    llvm_ir: str, target: Target, entries: Sequence[str], jobs: int | None = None, prefix: str = abi.PREFIX
) -> list[bytes]:
    """Return one object per process; together they define all `entries`, with symbols as `abi` says. Raises `ToolchainError`."""
    if jobs is None:
        jobs = min(_processors(), 1 + len(llvm_ir) // _BYTES_WORTH_A_PROCESS)
    if TARGETS.get(target.name) != target:
        jobs = 1  # a worker knows only the targets of the table
    own, *others = _shares(llvm_ir, entries, jobs)
    with ExitStack() as stack:
        workers = [stack.enter_context(_start(llvm_ir, target, share, prefix)) for share in others]
        for worker in workers:
            stack.callback(worker.kill)  # of use only if this process fails first
        objects = [emit_object(llvm_ir, target, own, prefix)]
        for worker, share in zip(workers, others, strict=True):
            elf = worker.communicate()[0]
            # A worker that failed is no fault of the user's: do its share here, and raise here what there is to raise.
            objects.append(elf if worker.returncode == 0 else emit_object(llvm_ir, target, share, prefix))
    return objects


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shares(llvm_ir: str, entries: Sequence[str], jobs: int) -> list[list[str]]:
    """Deal the entries, longest first, to whoever has the least text; the result has 1 to `jobs` shares."""
    starts = [*((match.start(), match[1]) for match in _DEFINITION.finditer(llvm_ir)), (len(llvm_ir), "")]
    lengths = {name: after - start for (start, name), (after, _) in pairwise(starts)}
    shares: list[list[str]] = [[] for _ in range(max(1, min(jobs, len(entries))))]
    loads = [0] * len(shares)
    for name in sorted(entries, key=lambda name: (-lengths.get(name, 0), name)):
        least = loads.index(min(loads))
        shares[least].append(name)
        loads[least] += lengths.get(name, 0)
    return shares


def _start(llvm_ir: str, target: Target, entries: Sequence[str], prefix: str) -> subprocess.Popen[bytes]:
    """Start a worker; the request goes through a file, because a pipe would make this process wait for the start."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    with tempfile.TemporaryFile() as request:
        wanted = {"target": target.name, "entries": entries, "prefix": prefix, "llvm_ir": llvm_ir}
        request.write(json.dumps(wanted).encode())
        request.seek(0)
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "sparsec.targets.parallel"],
            stdin=request,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )


def _serve() -> None:
    request = json.load(sys.stdin)
    elf = emit_object(request["llvm_ir"], TARGETS[request["target"]], request["entries"], request["prefix"])
    sys.stdout.buffer.write(elf)


if __name__ == "__main__":
    _serve()
