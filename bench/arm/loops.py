"""Inner loops of sparse kernels, ours and XNNPACK's design, by the cycles that llvm-mca predicts.

LLVM has a model of Neoverse-N1, the server form of Cortex-A76, from its release 16 on; for the name cortex-a76 it uses the
model of Cortex-A57, an older processor that starts half as much in a cycle. Cortex-A55 is the small core of a phone, which
starts instructions in their order.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bench.peers.onnx_layer import onnx_layer
from bench.spmm_cells import Cell, make_layer
from sparsec.driver import Level, compile_text
from sparsec.options import Options

PROCESSORS = ("neoverse-n1", "cortex-a76", "cortex-a55")
INSTALL = "apt-get install llvm-19"
_ITERATIONS = 400
_PRODUCT = re.compile(r"\s(fmla|usdot|sdot|mla)\s")
_LABEL = re.compile(r"^(\.L\w+):")
_BRANCH = re.compile(r"\sb\.\w+\s+(\.L\w+)$")
_CYCLES = re.compile(r"^Total Cycles:\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LoopRow:
    """A loop on one processor; `loads` are 16-byte registers (or less) loaded per multiply-add of a whole vector."""

    loop: str
    processor: str
    instructions: int
    products: int
    loads: float
    cycles: float
    products_per_cycle: float


def _xnnpack(vectors: int, rows: int, *, prefetches: bool = False) -> str:
    """The design of XNNPACK's f32-spmm for so many vectors of pixels and rows of a block (Elsen et al., "Fast Sparse ConvNets").

    Per nonzero: its distance in x, x in registers, the weights in a register, the products.
    """
    x = [f"ldp q{16 + v}, q{17 + v}, [x0, #{16 * v}]" for v in range(0, vectors, 2)]
    weight = {1: "ld1r {v30.4s}, [x2], #4", 2: "ldr d30, [x2], #8", 4: "ldr q30, [x2], #16"}[rows]
    lane = "v30.4s" if rows == 1 else "v30.s[{row}]"
    products = [
        f"fmla v{row * vectors + v}.4s, v{16 + v}.4s, {lane.format(row=row)}"
        for row in range(rows)
        for v in range(vectors)
    ]
    ahead = ["prfm pldl1keep, [x0, #64]", "prfm pldl1keep, [x0, #128]", "prfm pldl1keep, [x2, #128]"]
    step = ["ldrsw x9, [x1], #4", *x, "add x0, x0, x9", *(ahead if prefetches else []), weight, *products]
    return "\n".join([".L1:", *(f"\t{line}" for line in step), "\tsubs x3, x3, #1", "\tb.ne .L1", ""])


XNNPACK: Mapping[str, str] = {
    "XNNPACK f32 16x1": _xnnpack(4, 1),
    "XNNPACK f32 32x1": _xnnpack(8, 1),
    "XNNPACK f32 32x1, with its prefetches": _xnnpack(8, 1, prefetches=True),
    "XNNPACK f32 16x2": _xnnpack(4, 2),
    "XNNPACK f32 16x4": _xnnpack(4, 4),
    "XNNPACK f32 32x2": _xnnpack(8, 2),
}
OURS: Mapping[str, tuple[str, str, str]] = {  # pattern, target, precision
    "f32 unstructured": ("unstructured", "aarch64", "f32"),
    "f32 4x1 blocks": ("4x1", "aarch64", "f32"),
    "f32 16x1 blocks": ("16x1", "aarch64", "f32"),
    "fp16 unstructured": ("unstructured", "aarch64-fp16", "fp16"),
    "fp16 4x1 blocks": ("4x1", "aarch64-fp16", "fp16"),
}


def missing() -> str | None:
    """Why loops cannot be analysed here; None if they can."""
    return None if _program() is not None else f"there is no llvm-mca: {INSTALL}"


def measure() -> Iterator[LoopRow]:
    """All loops, XNNPACK's first."""
    for name, text in XNNPACK.items():
        yield from _rows(name, text)
    for name, (pattern, target, precision) in OURS.items():
        options = Options(target, use_measurements=False, precision=precision)
        layer = make_layer(Cell(512, 512, 128, pattern, 0.9, "fp32"))
        assembly = compile_text(onnx_layer(layer), Level.ASM, options)
        yield from _rows(f"sparsec {name}", busiest_loop(assembly))


def busiest_loop(assembly: str) -> str:
    """The innermost loop with the most multiply-adds; of equal ones that with the fewest instructions, then the first."""
    lines, starts = assembly.splitlines(), dict[str, int]()
    loops = list[tuple[int, int]]()
    for number, line in enumerate(lines):
        if label := _LABEL.match(line):
            starts[label[1]] = number
        elif (branch := _BRANCH.search(line)) and branch[1] in starts:
            loops.append((starts[branch[1]], number))
    inner = [one for one in loops if not any(one[0] <= a and b <= one[1] and (a, b) != one for a, b in loops)]
    bodies = ["\n".join(lines[first : last + 1]) + "\n" for first, last in inner]
    return max(bodies, key=lambda body: (len(_PRODUCT.findall(body)), -body.count("\n")))


def loads_of(loop: str) -> int:
    """Vector registers and weights that an iteration loads; a pair counts twice."""
    pairs, singles = (len(re.findall(rf"\s{name}\s+[qds]\d", loop)) for name in ("ldp", "ldr"))
    return 2 * pairs + singles + len(re.findall(r"\sld1r\s", loop))


def _rows(name: str, loop: str) -> Iterator[LoopRow]:
    products = len(_PRODUCT.findall(loop))
    instructions = sum(line.startswith("\t") for line in loop.splitlines())
    for processor in PROCESSORS:
        cycles = _cycles(loop, processor)
        loads = round(loads_of(loop) / products, 3)
        yield LoopRow(name, processor, instructions, products, loads, cycles, round(products / cycles, 3))


def _cycles(loop: str, processor: str) -> float:
    """Cycles of an iteration, in the long run."""
    program = _program()
    assert program is not None
    command = [program, "-mtriple=aarch64", f"-mcpu={processor}", f"-iterations={_ITERATIONS}"]
    done = subprocess.run(command, input=loop, capture_output=True, text=True, check=True)
    (cycles,) = _CYCLES.findall(done.stdout)
    return float(np.round(int(cycles) / _ITERATIONS, 2))


def _program() -> str | None:
    """The newest llvm-mca; none before 16, which has no model of Neoverse-N1."""
    return next((found for version in range(30, 15, -1) if (found := shutil.which(f"llvm-mca-{version}"))), None)
