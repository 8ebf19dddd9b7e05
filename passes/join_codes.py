"""join_codes: a code that is a function of an earlier code alone becomes one product, one sum and one rounding of it.

Before (ReLU between two quantisations; %q is used nowhere else):
    %r = math.roundeven %v   %a = arith.addf %r, 120.0   (clamped to 0 … 255)   %q = arith.trunci ... : i32 to i8
    %c = arith.uitofp %q   %d = arith.subf %c, 120.0   %e = arith.mulf %d, 0.001   (maximum with 0)   %f = arith.divf ..., 0.0005
    %s = math.roundeven %f   (clamped to 0 … 255)   %y = arith.trunci ... : i32 to i8
After:
    %r = math.roundeven %v   %f = math.fma %r, 2.0, 0.0   %s = math.roundeven %f   (clamped to 0 … 255)   %y = arith.trunci ...

Networks in operator form have such pairs behind every layer. There are 256 codes at most, so it is tried which straight line, if
any, gives the same code for each, as the processor rounds it; then it does so for numbers that were clamped before as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import arith
from torch_mlir.dialects import math as mlir_math

from sparsec.ir.module import block_walk, find
from sparsec.kernels.epilogue import Epilogue
from sparsec.passes.codes import Code, clamped, code_of
from sparsec.passes.evaluate import evaluate, fused_multiply_add
from sparsec.passes.layer import function_text
from sparsec.passes.unit import Unit

_STEPS = 200  # of the search for a slope, each of which leaves two thirds of the interval

Floats = NDArray[np.float64]


def join_codes(unit: Unit) -> None:
    """Join codes in the bodies of all generics, the first with the next until none is left."""
    with unit.module.context, ir.Location.unknown():
        for generic in find(unit.module, lambda op: op.name == "linalg.generic"):
            for cast in [op for op in block_walk(generic) if op.name == "arith.trunci"]:
                _join(cast, fuses=unit.isa.fuses)


def _join(cast: ir.Operation, *, fuses: bool) -> None:
    later = code_of(cast)
    between = _between(later) if later is not None else None
    if later is None or between is None:
        return
    earlier, ops = between
    line = _line(earlier, later, ops, fuses=fuses)
    if line is None:
        return
    with cast.location, ir.InsertionPoint(cast):
        rounded = earlier.chain[0].results[0]
        slope, shift = (arith.constant(rounded.type, float(number)) for number in (line.slope, line.shift))
        value = mlir_math.fma(rounded, slope, shift) if fuses else arith.addf(arith.mulf(rounded, slope), shift)
        code = clamped(mlir_math.roundeven(value), line.low, line.high)
        whole = arith.fptosi(ir.IntegerType.get_signless(32), code)
        joined = arith.trunci(cast.results[0].type, whole)
    cast.results[0].replace_all_uses_with(joined)
    _erase_unused([*earlier.chain, *ops])


def _between(later: Code) -> tuple[Code, list[ir.Operation]] | None:
    """The earlier code of which alone `later` is a function, and the ops that lead from it to `later`, in order."""
    needed, todo, found = set[ir.Operation](), [later.cast.results[0]], dict[ir.Value, Code]()
    while todo:
        value = todo.pop()
        if isinstance(value.owner, ir.Block):
            return None
        source = value.owner.operation
        if source.name.split(".")[0] not in ("arith", "math"):
            return None  # a place, or what stands at one
        code = code_of(source) if source != later.cast else None
        if code is not None:
            found[value] = code
        elif source.name != "arith.constant" and source not in needed:
            needed.add(source)
            todo += list(source.operands)
    if len(found) != 1:
        return None
    (earlier,) = found.values()
    return earlier, [op.operation for op in later.cast.block.operations if op.operation in needed]


def _erase_unused(ops: list[ir.Operation]) -> None:
    for op in reversed(ops):
        if not any(True for result in op.results for _ in result.uses):
            op.erase()


@dataclass(frozen=True, slots=True)
class _Line:
    """Codes `clamp(roundeven(slope * rounded + shift), low, high)`."""

    slope: np.float32
    shift: np.float32
    low: float
    high: float


def _line(earlier: Code, later: Code, ops: list[ir.Operation], *, fuses: bool) -> _Line | None:
    """The line that gives the later code for each value of the earlier one; None if there is none that rises."""
    numbers = np.arange(earlier.low, earlier.high + 1)
    text = function_text(ops, later.cast.results[0], [earlier.cast.results[0]])
    bytes_ = numbers.astype(np.int64).astype(np.int8)
    found = evaluate(Epilogue(text, (), "i8", "i8"), bytes_, (), later.cast.context)
    if found is None:
        return None
    found = np.broadcast_to(found, numbers.shape)
    codes = (found if later.low < 0 else found.view(np.uint8)).astype(np.float64)
    low, high = float(codes[0]), float(codes[-1])
    if not (np.diff(codes) >= 0).all() or low == high:
        return None
    x = numbers - earlier.zero
    slope, shift = (np.float32(number) for number in _widest(x, codes))
    with np.errstate(over="ignore"):
        y = fused_multiply_add(x.astype(np.float32), slope, shift) if fuses else x.astype(np.float32) * slope + shift
    same = slope > 0 and (np.clip(np.rint(y), low, high) == codes).all()
    return _Line(slope, shift, low, high) if same else None


def _widest(x: Floats, codes: Floats) -> tuple[float, float]:
    """Slope and shift of the line in the middle of the widest strip that keeps a rising function within half of its codes."""
    above, below = codes > codes[0], codes < codes[-1]  # clamping does the rest

    def room(slope: float) -> tuple[float, float]:
        most = (codes[below] + 0.5 - slope * x[below]).min()
        least = (codes[above] - 0.5 - slope * x[above]).max()
        return most - least, (most + least) / 2

    left, right = 0.0, float(2 * (codes[-1] - codes[0] + 1))
    for _ in range(_STEPS):
        third = (right - left) / 3
        if room(left + third)[0] < room(right - third)[0]:
            left += third
        else:
            right -= third
    return (left + right) / 2, room((left + right) / 2)[1]
