"""Sums of a few products in float16, each added to a sum of fp32 before its rounding errors grow.

Each multiply-add in float16 rounds to 11 bits. After n of them a sum is wrong by at most n * 2^-11 of the sum of the absolute
products, and by about the square root of n as much if errors fall as they may (Higham & Mary, SIAM J. Sci. Comput. 2019).
LONGEST bounds n; with factors that are rounded once (2^-11 of each, or 2^-25 of one below 2^-14),

    |y - sum of x w|  <=  (LONGEST + 2) * 2^-11 * sum of |x w|,

1.7 % for n = 32, typically below 0.1 %. Where a sum of so many products, or a factor, exceeds 65504, it becomes infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.kernels.emit import Vectors, add, add_up, carry
from sparsec.kernels.index import Index, as_index
from sparsec.kernels.words import Words

LONGEST = 32

Values = Sequence[ir.Value]
Step = Callable[[Index, list[ir.Value], list[ir.Value]], tuple[Values, Values]]  # (i, known, sums) -> the next ones
Rest = Callable[[list[ir.Value], list[ir.Value]], tuple[Values, Values]]  # the same behind the last i


def add_products(
    words: Words,
    totals: Values,
    span: tuple[Index, Index],
    body: Step,
    *,
    step: int,
    products: int,
    apart: int,
    known: Values = (),
    rest: Rest | None = None,
) -> tuple[list[ir.Value], list[ir.Value]]:
    """What is `known`, and `totals` plus what `body` adds for i from the begin of `span` to its end, and then `rest`.

    A body adds up to `products` products to each sum, and `rest` fewer; they go to `apart` sets of sums, [apart][totals],
    so that there are enough chains. What is known is carried along.
    """
    (begin, end), places, count = span, len(totals), len(known)

    def walk(first: Index, behind: Index, known: Values, sums: Values) -> tuple[list[ir.Value], list[ir.Value]]:
        def one(i: Index, carried: list[ir.Value]) -> list[ir.Value]:
            later, sums = body(i, carried[:count], carried[count:])
            return [*later, *sums]

        carried = carry(first, behind, step, [*known, *sums], one)
        return carried[:count], carried[count:]

    def joined(sums: Values) -> list[ir.Value]:
        return [add_up(list(sums[place::places])) for place in range(places)]

    kind = ir.VectorType(totals[0].type)
    if words.short is None:
        zero = Vectors(kind.shape[0], str(kind.element_type)).splat(0)
        later, sums = walk(begin, end, known, [*totals, *[zero] * (places * (apart - 1))])
        later, sums = (list(each) for each in rest(later, sums)) if rest is not None else (later, sums)
        return later, joined(sums)

    fresh, long = [Vectors(kind.shape[0], words.short).splat(0)] * (places * apart), LONGEST // products * step

    def run(first: Index, carried: list[ir.Value]) -> list[ir.Value]:
        later, sums = walk(first, first + long, carried[:count], fresh)
        return [*later, *widened(joined(sums), carried[count:])]

    whole = begin + (end - begin) // long * long
    carried = carry(begin, whole, long, [*known, *totals], run)
    later, sums = walk(whole, end, carried[:count], fresh)
    later, sums = (list(each) for each in rest(later, sums)) if rest is not None else (later, sums)
    return later, widened(joined(sums), carried[count:])


def add_runs(short: str, reduction: int, totals: Values, sums: Callable[[Index, int], Values]) -> list[ir.Value]:
    """`totals` plus the short sums `sums(first, length)` of runs of steps that cover [0, reduction)."""

    def run(first: Index, totals: list[ir.Value], length: int = LONGEST) -> list[ir.Value]:
        return widened(sums(first, length), totals)

    whole = reduction // LONGEST * LONGEST
    result = carry(0, whole, LONGEST, totals, run)
    return run(as_index(whole), result, reduction - whole) if reduction > whole else result


def widened(sums: Values, totals: Values) -> list[ir.Value]:
    """Totals with these short sums added."""
    return [add(total, arith.extf(total.type, each)) for total, each in zip(totals, sums, strict=True)]
