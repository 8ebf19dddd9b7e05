"""SpMV streams: an unstructured matrix as lanes take it that have a row each, distances between nonzeros and values.

Rows are sorted by how many nonzeros they have; 32 neighbours are a slice (SELL-C-sigma: Kreutzer et al., SISC 2014), whose
steps are of 16 nonzeros of each row. The steps of all slices in a line are cut into equal parts, one for each warp, wherever
slices end; a segment is a warp's steps of one slice. Where X is too long for the shared memory of a GPU, the line is that of
the first parts of all slices, then that of their second parts, and so on, so that a block of threads needs some columns only.

A step is the values, 16 bytes of each lane and again 16, then the distances of each nonzero's column from the one before, of
`bits` bits each, in planes of 8, 4, 2 and 1 bits as `bits` is a sum of these. With quad = number / 4, byte = number % 4:

* 8 bits, signed: 16 bytes of a lane, a distance in each;
* 4 bits: 8 bytes, bits 4 (quad % 2) and on of a byte of word quad / 2;
* 2 bits: 4 bytes, bits 2 quad and on of a byte;
* 1 bit: 2 bytes, bit quad + 4 (byte / 2) of byte (byte % 2).

A distance that has no place is several, with values of zero in columns that have none (as in MACKO: Macko and Boza, 2025);
behind a row's last nonzero there are zeros in the next column, or in column k, which X has not.

Bytes per nonzero: 2 + bits / 8, and one in a few dozen more.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.streams.spmv_line import WARPS, Line, line
from sparsec.cuda.streams.spmv_order import LANES as GROUP
from sparsec.cuda.streams.spmv_order import NONE, spread

LANES = 32
STEP = 16  # nonzeros of a lane
WIDTHS = (3, 4, 5, 6)  # of distances, in bits
SIGNED = 8  # bits of distances that go back, too
SAMPLE = 256  # rows, of which the width of distances is chosen
CHUNK = 64  # slices that are encoded at once

Bits = NDArray[np.uint16]
Numbers = NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class SpmvStreams:
    """A matrix [m, k] of 16-bit floating-point numbers, kept as bits.

    `units` is uint8 [steps, bytes of a step] in the order of the line, `rows` int32 [slices, 32] the row of each lane, m for
    none, `starts` uint32 [segments, 32] the column that each lane's first distance is from.
    """

    m: int
    k: int
    bits: int
    nnz: int
    units: NDArray[np.uint8]
    rows: NDArray[np.int32]
    starts: NDArray[np.uint32]
    line: Line

    @classmethod
    def encode(
        cls,
        weight: Bits,
        workers: int,
        most_columns: int,
        *,
        ordered: bool = False,
        warps: tuple[int, ...] | None = None,
    ) -> SpmvStreams:
        """Encode the bits of a matrix [m, k] for a GPU with so many multiprocessors; both zeros are dropped.

        A worker should need at most so many columns. `ordered` has nonzeros in an order for eight tokens. `warps` are the
        numbers of warps of a worker to choose from, if not those that are best.
        """
        m, k = weight.shape
        bits = SIGNED if ordered else _width(weight)
        rows = _Rows.of(weight, bits)
        order = np.argsort(-rows.counts[:m], kind="stable")
        lanes = np.pad(order, (0, -m % LANES), constant_values=m).reshape(-1, LANES)
        steps = np.maximum(1, -(-rows.counts[lanes[:, 0]] // STEP))
        with ThreadPoolExecutor() as pool:
            chunks = [slice(at, at + CHUNK) for at in range(0, len(lanes), CHUNK)]
            parts = list(pool.map(lambda at: _chunk(rows, lanes[at], steps[at], bits, ordered=ordered), chunks))
        units, before, lowest, highest = (np.concatenate(each) for each in zip(*parts, strict=True))
        found = line(steps, lowest, highest, workers, most_columns, warps or (WARPS[-1:] if ordered else WARPS))
        starts = before[found.order[found.begins]].astype(np.uint32)
        nnz = int(np.count_nonzero(rows.values))
        return cls(m, k, bits, nnz, units[found.order], lanes.astype(np.int32), starts, found)

    def decode(self) -> Bits:
        """The matrix, by doing what the kernel does."""
        out = np.zeros((len(self.rows) * LANES + 1, self.k + 1), dtype=np.uint16)
        values, distances = _unpacked(self.units, self.bits)
        for (slice_, steps, *_), begin, start in zip(self.line.segments, self.line.begins, self.starts, strict=True):
            columns = distances[begin : begin + steps].swapaxes(0, 1).reshape(LANES, -1).cumsum(axis=1) + start[:, None]
            taken = values[begin : begin + steps].swapaxes(0, 1).reshape(LANES, -1)
            lane, number = np.nonzero(taken)
            out[self.rows[slice_][lane], columns[lane, number]] = taken[lane, number]
        return out[: self.m, : self.k]

    @property
    def nbytes(self) -> int:
        """Bytes that a product reads."""
        return self.units.nbytes + self.starts.nbytes + self.rows.nbytes

    @property
    def ordered(self) -> bool:
        """Whether nonzeros are in an order for eight tokens."""
        return self.bits == SIGNED

    @property
    def columns(self) -> int:
        """Of X, that a worker needs at most."""
        return self.line.columns


@dataclass(frozen=True, slots=True)
class _Rows:
    """The nonzeros of rows one after the other, and zeros in between where a distance would be too long: values, distances;
    `counts` and `begins` are of each row, and of an empty one behind the last."""

    values: Bits
    distances: NDArray[np.uint8]
    counts: Numbers
    begins: Numbers

    @classmethod
    def of(cls, weight: Bits, bits: int) -> _Rows:
        with ThreadPoolExecutor() as pool:
            chunks = [weight[at : at + CHUNK * LANES] for at in range(0, len(weight), CHUNK * LANES)]
            found = list(pool.map(lambda rows: _distances(rows, bits), chunks))
        values, distances, counts = (np.concatenate(each) for each in zip(*found, strict=True))
        counts = np.append(counts, 0)
        return cls(values, distances, counts, np.cumsum(counts) - counts)

    def idle(self, rows: Numbers) -> NDArray[np.bool_]:
        """Which are the empty row behind the last."""
        return np.equal(rows, len(self.counts) - 1)

    def padded(self, rows: Numbers, count: int) -> tuple[Bits, NDArray[np.uint8]]:
        """Values and distances [rows, count]: behind a row's last one there are zeros in the next column."""
        place = np.arange(count)
        inside = place < self.counts[rows][:, None]
        at = (self.begins[rows][:, None] + place)[inside]
        values = np.zeros(inside.shape, dtype=np.uint16)
        distances = ((place == self.counts[rows][:, None]) & (place > 0)).astype(np.uint8)
        values[inside], distances[inside] = self.values[at], self.distances[at]
        return values, distances


def _width(weight: Bits) -> int:
    """Of distances, for the fewest bytes of some rows."""
    rows = weight[:: -(-len(weight) // SAMPLE)]
    return min(WIDTHS, key=lambda bits: len(_distances(rows, bits)[0]) * (8 * weight.itemsize + bits))


def _distances(rows: Bits, bits: int) -> tuple[Bits, NDArray[np.uint8], Numbers]:
    """Values, distances and counts as `_Rows` has them."""
    kept = (rows << 1) != 0
    flat = np.flatnonzero(kept)
    nonzeros = np.count_nonzero(kept, axis=1)
    ends = np.cumsum(nonzeros)
    gaps = np.diff(flat, prepend=0)
    full = np.flatnonzero(nonzeros)
    first = (ends - nonzeros)[full]
    gaps[first] = flat[first] - full * rows.shape[1]
    most = _most(bits)
    far = np.flatnonzero(gaps > most)
    between = np.zeros(len(flat) + 1, dtype=np.int64)  # zeros before each nonzero, all of them
    between[far + 1] = (gaps[far] - 1) // most
    gaps[far] -= between[far + 1] * most
    between = np.cumsum(between)
    at = np.arange(len(flat)) + between[1:]
    values = np.zeros(len(flat) + between[-1], dtype=np.uint16)
    distances = np.full(len(values), most, dtype=np.uint8)
    values[at], distances[at] = rows.ravel()[flat], gaps
    return values, distances, nonzeros + between[ends] - between[ends - nonzeros]


def _most(bits: int) -> int:
    """The longest distance."""
    return (1 << (7 if bits == SIGNED else bits)) - 1


def _chunk(
    rows: _Rows, lanes: Numbers, steps: Numbers, bits: int, *, ordered: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Of some slices: their steps, the columns before each step [steps, 32], the lowest and the highest in each."""
    values, distances = rows.padded(lanes.ravel(), int(steps.max()) * STEP)
    idle = np.flatnonzero(rows.idle(lanes.ravel()))  # lanes without a row: they go where the first of their slice goes
    distances[idle] = distances[idle // LANES * LANES]
    columns = np.cumsum(distances, axis=1, dtype=np.int32)
    if ordered:
        there = np.arange(columns.shape[1]) < np.repeat(steps * STEP, LANES)[:, None]
        taken = spread(np.where(there, columns, NONE).reshape(-1, GROUP, columns.shape[1])).reshape(columns.shape)
        values, columns = np.take_along_axis(values, taken, axis=1), np.take_along_axis(columns, taken, axis=1)
    exists = np.arange(steps.max()) < steps[:, None]

    def by_step(elements: NDArray[Number]) -> NDArray[Number]:
        return elements.reshape(len(lanes), LANES, -1, STEP).swapaxes(1, 2)[exists]

    before = np.concatenate([np.zeros_like(columns[:, :1]), columns[:, :-1]], axis=1)
    places = by_step(columns)
    units = _packed(by_step(values), by_step((columns - before).astype(np.int8)), bits)
    return units, by_step(before)[:, :, 0], places.min(axis=(1, 2)), places.max(axis=(1, 2))


def _packed(values: Bits, distances: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """The bytes of steps: values and distances [steps, 32, 16]."""
    pieces = [np.ascontiguousarray(values.reshape(-1, LANES, 2, 8).swapaxes(1, 2)).view(np.uint8)]
    plane = distances.view(np.uint8).reshape(-1, LANES, 4, 4)
    if bits & 8:
        pieces.append(plane)
    if bits & 4:
        pieces.append((plane[:, :, 0::2] & 15 | (plane[:, :, 1::2] & 15) << 4).astype(np.uint8))
    if bits & 2:
        pieces.append(
            ((plane >> (bits & 4) & 3) << (2 * np.arange(4, dtype=np.uint8)[:, None])).sum(axis=2, dtype=np.uint8)
        )
    if bits & 1:
        one = (plane >> (bits & 6) & 1).reshape(-1, LANES, 4, 2, 2)
        shifts = (np.arange(4)[:, None, None] + 4 * np.arange(2)[:, None]).astype(np.uint8)
        pieces.append((one << shifts).sum(axis=(2, 3), dtype=np.uint8))
    return np.concatenate([each.reshape(len(values), -1) for each in pieces], axis=1)


def _unpacked(units: NDArray[np.uint8], bits: int) -> tuple[Bits, NDArray[np.int64]]:
    """The inverse of `_packed`."""
    values = units[:, :1024].copy().view(np.uint16).reshape(-1, 2, LANES, 8).swapaxes(1, 2).reshape(-1, LANES, STEP)
    rest = units[:, 1024:]
    if bits & 8:
        return values, rest.copy().view(np.int8).reshape(-1, LANES, STEP).astype(np.int64)
    distances = np.zeros((len(units), LANES, 4, 4), dtype=np.int64)
    if bits & 4:
        four, rest = rest[:, :256].reshape(-1, LANES, 2, 4), rest[:, 256:]
        distances[:, :, 0::2], distances[:, :, 1::2] = four & 15, four >> 4
    if bits & 2:
        two, rest = rest[:, :128].reshape(-1, LANES, 1, 4), rest[:, 128:]
        distances += (two >> 2 * np.arange(4)[:, None] & 3).astype(np.int64) << (bits & 4)
    if bits & 1:
        one = rest.reshape(-1, LANES, 1, 1, 2) >> (np.arange(4)[:, None, None] + 4 * np.arange(2)[:, None]) & 1
        distances += one.reshape(distances.shape).astype(np.int64) << (bits & 6)
    return values, distances.reshape(-1, LANES, STEP)
