"""`python -m bench roofs`: what one core of this machine can do at most, measured by loops of LLVM IR.

A step of a loop does one thing for each of several independent sums, as many as half the registers, so that latency hides.
Rates are medians over repeats of processor time; memory is read in one stream, front to back, again and again.
"""

from __future__ import annotations

import ctypes
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from sparsec.cli.benchmark import machine
from sparsec.cli.console import make_table, print_table
from sparsec.targets import host_features, resolve

REPEATS = 11
REPEAT_SECONDS = 8e-3
CACHED = tuple(kib << 10 for kib in (16, 32, 256, 512, 4096, 16384))
FAR = 256 << 20  # beyond the caches
_PAGE = 4096

Bytes = NDArray[np.uint8]
Call = Callable[[int, int, int, int], None]  # address of memory, mask, steps, address of two operands and the result


@dataclass(frozen=True, slots=True)
class Loop:
    """What is done for sum i of a step: LLVM IR of %c{i}, from the sum {a}, the operands %v and %w and the address %p{i}.

    {V} is the type of a sum, a vector of `element`, {T} its name in intrinsics, {D} and {Q} are two and four times the
    lanes. `work` is operations, or bytes, per lane. `needs` are CPU features beyond the target's.
    """

    name: str
    unit: str
    work: int
    body: str
    element: str = "float"
    needs: tuple[str, ...] = ()


_FMA = "%c{{i}} = call {{V}} @llvm.fma.{{T}}({{V}} {}, {{V}} %w, {{V}} {{a}})"
FMA = Loop("fp32 multiply-add in registers", "GFLOP/s", 2, _FMA.format("%v"))
LOAD_FMA = Loop(
    "fp32 multiply-add, vector from L1", "GFLOP/s", 2, "%x{i} = load {V}, ptr %p{i}\n" + _FMA.format("%x{i}")
)
BROADCAST_FMA = Loop(
    "fp32 multiply-add, scalar from L1",
    "GFLOP/s",
    2,
    "%s{i} = load float, ptr %p{i}\n%e{i} = insertelement {V} poison, float %s{i}, i64 0\n"
    "%x{i} = shufflevector {V} %e{i}, {V} poison, <{L} x i32> zeroinitializer\n" + _FMA.format("%x{i}"),
)
READ = Loop("read", "GB/s", 4, "%x{i} = load {V}, ptr %p{i}\n%c{i} = or {V} {a}, %x{i}", "i32")
_CAST = "%x{i} = bitcast {V} %v to {N}\n%y{i} = bitcast {V} %w to {N}\n%c{i} = call {V} @llvm.x86."
NARROW = (
    Loop(
        "bf16 dot products in registers",
        "GFLOP/s",
        4,
        (_CAST + "avx512bf16.dpbf16ps.512({V} {a}, {N} %x{i}, {N} %y{i})").replace("{N}", "<{D} x bfloat>"),
        needs=("avx512bf16",),
    ),
    Loop(
        "int8 dot products in registers",
        "GOP/s",
        8,
        (_CAST + "avx512.vpdpbusd.512({V} {a}, {N} %x{i}, {N} %y{i})").replace("{N}", "<{Q} x i8>"),
        "i32",
        ("avx512vnni",),
    ),
)


@dataclass(frozen=True, slots=True)
class Roof:
    """One measured rate: median and best over the repeats."""

    name: str
    unit: str
    median: float
    best: float


@dataclass(frozen=True, slots=True)
class Roofs:
    """Rates of one core. `memory` are read rates in GB/s, by bytes read again and again."""

    fma: Roof
    load_fma: Roof
    broadcast_fma: Roof
    narrow: tuple[Roof, ...]
    memory: tuple[tuple[int, Roof], ...]

    def rows(self) -> tuple[Roof, ...]:
        """All of them, in the order to print."""
        computing = (self.fma, self.load_fma, self.broadcast_fma, *self.narrow)
        return (*computing, *(roof for _, roof in self.memory))

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        return asdict(self)


def run(json_file: Path | None) -> int:
    """Measure, print the table, write the JSON; returns the exit code."""
    roofs = measure_roofs()
    table = make_table("roof of one core", ">median", ">best", "")
    for roof in roofs.rows():
        table.add_row(roof.name, f"{roof.median:.4g}", f"{roof.best:.4g}", roof.unit)
    print_table(table)
    if json_file is not None:
        json_file.write_text(json.dumps({**machine(), "roofs": roofs.as_dict()}, indent=1) + "\n")
        click.echo(f"written to {json_file}", err=True)
    return 0


def measure_roofs() -> Roofs:
    """Measure all of them, in a few seconds; raises `TargetError` on a machine that is no target."""
    target, features = resolve("native"), host_features()
    lanes, sums = target.vector_bytes // 4, target.vector_registers // 2
    memory = _pages(FAR, 1)

    def rate(loop: Loop, size: int = CACHED[0]) -> Roof:
        with compiled(loop_text(loop, lanes, sums)) as call:
            return _rate(loop, call, memory, size, lanes * sums * loop.work, lanes * sums * 4)

    return Roofs(
        fma=rate(FMA),
        load_fma=rate(LOAD_FMA),
        broadcast_fma=rate(BROADCAST_FMA),
        narrow=tuple(rate(loop) for loop in NARROW if features.issuperset(loop.needs) and lanes == 16),
        memory=tuple((size, rate(replace(READ, name=f"read {size >> 10} KiB"), size)) for size in (*CACHED, FAR)),
    )


def loop_text(loop: Loop, lanes: int, sums: int) -> str:
    """LLVM IR of `void @roof(ptr memory, i64 mask, i64 steps, ptr operands)`.

    Step i reads `sums` vectors at byte (i * their size) & mask; `sums` and `lanes` are powers of two, and so is the mask,
    less one. The result goes behind the two operands, so that nothing is dead.
    """
    vector = f"<{lanes} x {loop.element}>"
    fields = {
        "V": vector,
        "T": f"v{lanes}{'f' if loop.element == 'float' else 'i'}32",
        "L": str(lanes),
        "D": str(2 * lanes),
        "Q": str(4 * lanes),
    }
    size = 4 * lanes
    phis = [f"%a{i} = phi {vector} [zeroinitializer, %entry], [%c{i}, %loop]" for i in range(sums)]
    steps = [
        f"%p{i} = getelementptr i8, ptr %base, i64 {i * size}\n" + loop.body.format(i=i, a=f"%a{i}", **fields)
        for i in range(sums)
    ]
    stores = [
        f"%o{i} = getelementptr i8, ptr %operands, i64 {(2 + i) * size}\nstore {vector} %c{i}, ptr %o{i}"
        for i in range(sums)
    ]
    return "\n".join(
        [
            "define void @roof(ptr %memory, i64 %mask, i64 %steps, ptr %operands) {",
            f"entry:\n%v = load {vector}, ptr %operands",
            f"%second = getelementptr i8, ptr %operands, i64 {size}\n%w = load {vector}, ptr %second\nbr label %loop",
            "loop:\n%n = phi i64 [0, %entry], [%m, %loop]",
            *phis,
            f"%far = mul i64 %n, {sums * size}\n%at = and i64 %far, %mask\n%base = getelementptr i8, ptr %memory, i64 %at",
            *steps,
            "%m = add i64 %n, 1\n%more = icmp ult i64 %m, %steps\nbr i1 %more, label %loop, label %exit\nexit:",
            *stores,
            "ret void\n}\n",
        ]
    )


@contextmanager
def compiled(text: str) -> Iterator[Call]:
    """The loop as a function of this process, compiled for this very machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten() + ",-prefer-256-bit"
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True
    )
    with closing(llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)) as engine:
        engine.finalize_object()
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
        yield kind(engine.get_function_address("roof"))


def _pages(size: int, value: int) -> Bytes:
    """Bytes of `value` that begin at a page."""
    whole = np.full(size + _PAGE, value, np.uint8)
    start = -whole.ctypes.data % _PAGE
    return whole[start : start + size]


def _rate(loop: Loop, call: Call, memory: Bytes, size: int, work: int, stride: int) -> Roof:
    """`work` is per step, `stride` the bytes that a step goes on; at least the whole of `size` is read per repeat."""
    operands = _pages(_PAGE, 0)  # zeros, so that no sum overflows
    whole = max(1, size // stride)

    def seconds(steps: int) -> float:
        start = time.process_time_ns()
        call(memory.ctypes.data, size - 1, steps, operands.ctypes.data)
        return max(time.process_time_ns() - start, 1) * 1e-9

    seconds(whole)
    steps = whole * max(1, math.ceil(REPEAT_SECONDS / seconds(whole)))
    rates = [work * steps / seconds(steps) * 1e-9 for _ in range(REPEATS)]
    return Roof(loop.name, loop.unit, float(np.median(rates)), max(rates))
