"""`python -m bench cuda --goals`: which goals the kept table reaches, and where it is the farthest from each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from bench import cuda, cuda_block, cuda_models
from bench.cuda import FOUR_BITS, LARGE, LARGE_SQUARE, SMALL, SQUARE, Row
from bench.cuda_block import BlockRow
from bench.cuda_models import ModelRow
from sparsec.cli.console import make_table, print_table

Kept = TypeVar("Kept", Row, BlockRow, ModelRow)

UNSTRUCTURED = {LARGE: (1.4, 2.0, 2.6, 4.0), (SMALL,): (1.3, 1.8, 2.3, 3.2)}  # for `SPARSITIES`
SPARSITIES = (0.5, 0.7, 0.8, 0.9)
BLOCKS = {0.8: 3.0, 0.9: 5.0}
DECODING = {0.5: 1.3, 0.7: 1.8}


@dataclass(frozen=True, slots=True)
class Goal:
    """How many times as fast as a rival some cells of the table should be at least."""

    what: str
    rival: str
    least: float
    found: Sequence[tuple[float, str]]  # how many times it is, and which cell

    @property
    def reached(self) -> int:
        """In how many cells."""
        return sum(ratio >= self.least for ratio, _ in self.found)


def run() -> None:
    """Print all goals."""
    table = make_table("goal", "against", ">at least", ">reached in", ">worst", "at")
    for goal in goals():
        worst, where = min(goal.found, default=(0.0, "no such cell"))
        reached = f"{goal.reached} of {len(goal.found)}"
        table.add_row(goal.what, goal.rival, f"{goal.least:.2f}", reached, f"{worst:.2f}", where)
    print_table(table)


def goals() -> Iterator[Goal]:
    """Of what the files hold; a goal without cells has none."""
    rows = _kept(cuda.RESULTS, Row) + _kept(cuda.RESULTS_OF_MANY, Row)
    yield from _unstructured(rows)
    yield from _two_of_four(rows)
    yield from _four_bits(rows)
    for zeros, least in BLOCKS.items():
        blocks = [row for row in rows if row.pattern == "block:32x32" and row.sparsity == zeros and row.n == 4096]
        found = _leads(row for row in blocks if (row.m, row.k) == LARGE_SQUARE and row.dtype == "float16")
        yield Goal(f"blocks of 32x32, {zeros:.0%} of zeros, 4096 tokens", "cuBLAS", least, found)
    yield from _networks()


def _unstructured(rows: Sequence[Row]) -> Iterator[Goal]:
    for shapes, leasts in UNSTRUCTURED.items():
        for zeros, least in zip(SPARSITIES, leasts, strict=True):
            found = _leads(
                row
                for row in rows
                if row.pattern == "unstructured" and row.sparsity == zeros and row.dtype == "float16"
                if (row.m, row.k) in shapes and row.n in (8, 16, 32)
            )
            named = " and ".join(f"{m}x{k}" for m, k in shapes)
            yield Goal(f"{named}, {zeros:.0%} of zeros, 8 to 32 tokens", "cuBLAS", least, found)


def _two_of_four(rows: Sequence[Row]) -> Iterator[Goal]:
    of_16_bits = [row for row in rows if row.pattern == "2:4" and row.dtype in ("float16", "bfloat16")]
    large = [row for row in of_16_bits if min(row.m, row.k) >= LARGE_SQUARE[0] and row.n >= 1024]
    few = (row for row in of_16_bits if (row.m, row.k) != SQUARE and row.n <= 64)
    square = (row for row in of_16_bits if (row.m, row.k) == SQUARE)
    yield Goal("2:4, large, 1024 tokens and more", "cuBLAS", 1.6, _leads(large))
    yield Goal(
        "2:4, large, 1024 tokens and more", "cuSPARSELt", 1.1, _leads(large, lambda row: row.cusparselt_microseconds)
    )
    yield Goal("2:4, up to 64 tokens", "cuBLAS", 1.4, _leads(few))
    yield Goal("2:4, 4096x4096", "cuBLAS", 1.0, _leads(square))


def _four_bits(rows: Sequence[Row]) -> Iterator[Goal]:
    for pattern in ("2:4", "block:1x16"):
        chosen = [row for row in rows if row.pattern == pattern + FOUR_BITS and row.n <= 16]
        yield Goal(f"four bits, {pattern}, up to 16 tokens", "cuBLAS", 4.0, _leads(chosen))
        dense = _leads(chosen, lambda row: row.dense_int4_microseconds)
        yield Goal(f"four bits, {pattern}, up to 16 tokens", "dense int4", 1.0, dense)


def _networks() -> Iterator[Goal]:
    models, blocks = _kept(cuda_models.RESULTS, ModelRow), _kept(cuda_block.RESULTS, BlockRow)
    bert = [(row.ratio_compiled, row.network) for row in models if row.network.startswith("BERT")]
    yield Goal("BERT-base, 2:4", "torch.compile", 1.25, bert)
    for zeros, least in DECODING.items():
        decoded = [row for row in models if row.network.startswith("Llama") and row.pattern == f"{zeros:.0%}"]
        compiled = [(row.ratio_compiled, row.network) for row in decoded]
        yield Goal(f"a decoder's block, {zeros:.0%} of zeros", "torch.compile", least, compiled)
        converted = [(row.ratio, f"batch {row.batch}") for row in blocks if row.sparsity == zeros]
        yield Goal(f"the same in torch, {zeros:.0%} of zeros", "torch", least, converted)


def _leads(
    rows: Iterator[Row] | Sequence[Row], rival: Callable[[Row], float | None] | None = None
) -> list[tuple[float, str]]:
    """Over cuBLAS, or over a rival where it was timed; a product is as fast as cuBLAS where a dense one is taken."""
    found = []
    for row in rows:
        own = row.microseconds if row.taken else row.cublas_microseconds
        theirs = rival(row) if rival else row.cublas_microseconds
        if theirs is not None:
            found.append((theirs / own, f"{row.m}x{row.k}, {row.n} tokens, {row.dtype}"))
    return found


def _kept(json_file: Path, kind: type[Kept]) -> list[Kept]:
    if not json_file.exists():
        click.echo(f"{json_file} is not there")
        return []
    return [kind(**row) for row in json.loads(json_file.read_text())["rows"]]
