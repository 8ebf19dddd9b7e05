"""What a set of rows says: shares, medians and worst cells, in tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import geometric_mean, median

import click
from rich.table import Table

from bench.peers.table import ALL
from bench.spmm_cells import UNSTRUCTURED
from bench.spmm_rows import OURS, Row
from sparsec.cli.console import make_table, print_table

LOSSES = 10
NEAR_CACHE = 1 << 20  # bytes of the cache that X should fit


def summarise(rows: Sequence[Row]) -> None:
    """Print everything."""
    raced = [row for row in rows if row.best() is not None]
    if not raced:
        return
    click.echo(f"\n{len(raced)} cells. Ratios: the peer's time over ours, above 1 where we are faster.\n")
    tables = {
        "Median ratio to the best peer:": by_pattern(raced, lambda group: f"{median(_leads(group)):.2f}"),
        "Median per cent of the roof:": by_pattern(raced, lambda group: f"{median(_shares(group)):.0f}"),
        "Chosen formats:": by_pattern(raced, _formats),
        "By N, ratio to the best peer:": _by_tokens(raced),
        "By peer, its time over ours:": _by_peer(raced),
        "Where we lose most, or win least:": _losses(raced),
    }
    for title, table in tables.items():
        click.echo(title)
        print_table(table)
        click.echo()
    for line in verdicts(raced):
        click.echo(line)


def verdicts(rows: Sequence[Row]) -> list[str]:
    """The lines that say whether the goal is reached."""
    faster = sum(lead > 1 for lead in _leads(rows))
    lines = [f"faster than the best peer in {faster} of {len(rows)} cells ({100 * faster / len(rows):.0f} %)"]
    dense = [(lead, row) for row in rows if (lead := row.lead(dense=True)) is not None]
    if dense:
        lead, row = min(dense, key=lambda pair: pair[0])
        lines.append(f"worst against the best dense peer: {lead:.2f} of {row.best(dense=True)} at {row.cell}")
    lines += _int8_verdicts(rows) if rows[0].cell.precision == "int8" else _float_verdicts(rows)
    if wide := [str(row.cell) for row in rows if not row.settled]:
        lines.append(f"spread still wide: {', '.join(wide)}")
    return lines


def _float_verdicts(rows: Sequence[Row]) -> list[str]:
    unstructured = _between(rows, 0.8, 0.95, UNSTRUCTURED)
    lines = []
    if unstructured:
        leads = _leads(unstructured)
        lines.append(f"unstructured, 80 to 95 %: median ratio to the best peer {median(leads):.2f}")
    if inside := [row for row in unstructured if 4 * row.cell.k * row.cell.n <= NEAR_CACHE]:
        lines.append(f"unstructured, 80 to 95 %, X at most 1 MiB: {_roof_words(inside)}")
    if blocks := _between(rows, 0.8, 0.9, "4x1", "16x1"):
        lines.append(f"4x1 and 16x1, 80 to 90 %: {_roof_words(blocks)}")
    return lines


def _int8_verdicts(rows: Sequence[Row]) -> list[str]:
    lines = []
    for words, group in (
        ("4x1 and 1x4, 70 to 95 %", _between(rows, 0.7, 0.95, "4x1", "1x4")),
        ("unstructured, 80 to 95 %", _between(rows, 0.8, 0.95, UNSTRUCTURED)),
    ):
        if ratios := [row.timings["deepsparse-int8"].ratio for row in group if "deepsparse-int8" in row.timings]:
            mean = f"geometric mean {geometric_mean(ratios):.2f}, worst {min(ratios):.2f}"
            lines.append(f"{words}, ratio to deepsparse-int8: {mean}")
    blocks = _between(rows, 0.9, 0.9, "4x1", "1x4", "16x1")
    if dense := [lead for row in blocks if (lead := row.lead(dense=True)) is not None]:
        lines.append(
            f"blocks at 90 %, ratio to the best dense peer: median {median(dense):.2f}, worst {min(dense):.2f}"
        )
    if wide := [row for row in _between(rows, 0.0, 1.0, "4x1", "1x4", "16x1") if row.cell.n >= 64]:
        lines.append(f"blocks, N at least 64: {_roof_words(wide)}")
    return lines


def _between(rows: Sequence[Row], least: float, most: float, *patterns: str) -> list[Row]:
    return [row for row in rows if row.cell.pattern in patterns and least <= row.cell.sparsity <= most]


def _roof_words(rows: Sequence[Row]) -> str:
    shares = sorted(_shares(rows))
    return f"{median(shares):.0f} % of the roof (median of {len(shares)} cells; least {shares[0]:.0f} %)"


def by_pattern(rows: Sequence[Row], cell: Callable[[Sequence[Row]], str]) -> Table:
    """A table of patterns by sparsities, each entry computed from its rows."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.cell.pattern, row.cell.sparsity), []).append(row)
    sparsities = sorted({sparsity for _, sparsity in groups})
    table = make_table("pattern", *(f">{sparsity:.3g}" for sparsity in sparsities))
    for pattern in dict.fromkeys(pattern for pattern, _ in groups):
        found = [groups.get((pattern, sparsity)) for sparsity in sparsities]
        table.add_row(pattern, *(cell(group) if group else "" for group in found))
    return table


def _leads(rows: Sequence[Row]) -> list[float]:
    return [lead for row in rows if (lead := row.lead()) is not None]


def _shares(rows: Sequence[Row]) -> list[float]:
    return [100 * row.roof_share for row in rows]


def _formats(rows: Sequence[Row]) -> str:
    counts = Counter(row.format for row in rows)
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def _by_tokens(rows: Sequence[Row]) -> Table:
    table = make_table("N", ">cells", ">faster", ">median", ">worst")
    for n in sorted({row.cell.n for row in rows}):
        leads = _leads([row for row in rows if row.cell.n == n])
        faster = sum(lead > 1 for lead in leads)
        table.add_row(str(n), str(len(leads)), str(faster), f"{median(leads):.2f}", f"{min(leads):.2f}")
    return table


def _by_peer(rows: Sequence[Row]) -> Table:
    table = make_table("peer", ">cells", ">best in", ">we win", ">median", ">worst", "worst at")
    best = Counter(row.best() for row in rows)
    for peer in ALL:
        ratios = [(row.timings[peer.name].ratio, str(row.cell)) for row in rows if peer.name in row.timings]
        if not ratios:
            continue
        lowest, where = min(ratios)
        wins = sum(ratio > 1 for ratio, _ in ratios)
        middle = median(ratio for ratio, _ in ratios)
        table.add_row(
            peer.name, str(len(ratios)), str(best[peer.name]), str(wins), f"{middle:.2f}", f"{lowest:.2f}", where
        )
    return table


def _losses(rows: Sequence[Row]) -> Table:
    table = make_table("cell", "format", ">us", ">% of roof", "best peer", ">us", ">ratio")
    for row in sorted(rows, key=lambda row: row.lead() or 0.0)[:LOSSES]:
        best = row.best()
        assert best is not None
        times = [f"{row.timings[name].median_ns / 1e3:.0f}" for name in (OURS, best)]
        share, ratio = f"{100 * row.roof_share:.0f}", f"{row.timings[best].ratio:.2f}"
        table.add_row(str(row.cell), row.format, times[0], share, best, times[1], ratio)
    return table
