"""Calibration: small kernels whose times are the roofs of one core, and the machine that follows from their times.

Generated as all kernels are, for the target's own vectors; whoever can compile and time them (`sparsec.tune.roofs`)
gives the nanoseconds back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.cost.machine import GENERIC, Machine
from sparsec.kernels.emit import Buffer, Vectors, add, carry, define, fma
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa

CHAINS = 12  # independent sums: more than latency times throughput anywhere, and fit 16 registers beside two operands
CLOCK_CHAIN = 64  # dependent one-cycle integer operations in one unit
_L1_SHARE, _L2_SHARE, _L3_SHARE = 0.33, 0.5, 0.25  # of a cache: what surely stays in it (others share L3)
_MEMORY_OF_L3, _MOST_MEMORY = 3, 256 << 20  # what surely does not stay in L3, within reason
_PROBE_NS = 1e6  # about how long one run of a probe takes

Body = Callable[[Mapping[str, Buffer], Index, Index], None]


@dataclass(frozen=True, slots=True)
class Probe:
    """A kernel over "x" (`elements` of `dtype`) and "y"; one run is `units` units of `work` vectors or operations each."""

    name: str
    dtype: str
    elements: int
    units: int
    work: int
    body: Body

    @property
    def outputs(self) -> int:
        """Elements of "y"."""
        return CHAINS * 16

    def define(self, module: ir.Module) -> None:
        """Add the function `name` to the module."""
        define(module, self.name, {"x": (self.dtype, self.elements), "y": (self.dtype, self.outputs)}, self.body)


def probes(isa: Isa, caches: Mapping[int, int]) -> list[Probe]:
    """One probe per roof; `caches` are bytes by level, where they are known."""
    l1, l2, l3 = (caches.get(level, default) for level, default in enumerate(_default_caches(), start=1))
    sizes = {
        "read_l1": int(l1 * _L1_SHARE),
        "read_l2": int(l2 * _L2_SHARE),
        "read_l3": max(min(int(l3 * _L3_SHARE), 4 * l2), 2 * l2),
        "read_memory": min(_MEMORY_OF_L3 * l3, _MOST_MEMORY),
    }
    return [
        _clock(),
        _arithmetic("fma", isa, vectors=0),
        _arithmetic("loaded_fma", isa, vectors=sizes["read_l1"] // isa.vector_bytes),
        _arithmetic("broadcast_fma", isa, vectors=64, broadcast=True),
        *(_read(name, isa, size // isa.vector_bytes) for name, size in sizes.items()),
    ]


def machine_of(
    name: str, times: Mapping[str, float], used: list[Probe], isa: Isa, caches: Mapping[int, int], cores: int
) -> Machine:
    """The roofs from `times`, nanoseconds per run by the names of the probes."""
    per_ns = {probe.name: probe.units * probe.work / max(times[probe.name], 1.0) for probe in used}
    ghz = per_ns["clock"]
    l1, l2, l3 = (caches.get(level, default) for level, default in enumerate(_default_caches(), start=1))

    def bytes_per_cycle(probe: str) -> float:
        return round(per_ns[probe] * isa.vector_bytes / ghz, 3)

    return Machine(
        name=name,
        ghz=round(ghz, 3),
        vector_fma_per_cycle=round(per_ns["fma"] / ghz, 3),
        l1_bytes=l1,
        l2_bytes=l2,
        l1_bytes_per_cycle=bytes_per_cycle("read_l1"),
        l2_bytes_per_cycle=bytes_per_cycle("read_l2"),
        far_bytes_per_cycle=bytes_per_cycle("read_l3"),
        l3_bytes=l3,
        memory_bytes_per_cycle=bytes_per_cycle("read_memory"),
        loaded_fma_per_cycle=round(per_ns["loaded_fma"] / ghz, 3),
        broadcast_fma_per_cycle=round(per_ns["broadcast_fma"] / ghz, 3),
        cores=cores,
    )


def _default_caches() -> tuple[int, int, int]:
    return GENERIC.l1_bytes, GENERIC.l2_bytes, GENERIC.l3_bytes


def _units(work: int) -> int:
    """Enough units for a run of about `_PROBE_NS`, at two vectors or operations per cycle."""
    return max(1, int(_PROBE_NS * 2 * GENERIC.ghz / work))


def _clock() -> Probe:
    """x = (x + a) ^ b, over and over: each waits for the one before, and takes one cycle."""

    def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        x = memory["x"]
        a, b = x.load(0), x.load(1)

        def unit(_: Index, values: list[ir.Value]) -> list[ir.Value]:
            value = values[0]
            for _step in range(CLOCK_CHAIN // 2):
                value = arith.xori(arith.addi(value, a), b)
            return [value]

        memory["y"].store(carry(begin, end, 1, [x.load(2)], unit)[0], 0)

    return Probe("clock", "i64", 3, int(_PROBE_NS * GENERIC.ghz / CLOCK_CHAIN), CLOCK_CHAIN, body)


def _arithmetic(name: str, isa: Isa, *, vectors: int, broadcast: bool = False) -> Probe:
    """`CHAINS` sums of products: of registers, or with an operand that walks through `vectors` vectors of x."""
    lanes = Vectors(isa.lanes())
    passes = max(vectors // CHAINS, 1)

    def operand(x: Buffer, at: Index) -> ir.Value:
        return lanes.load_splat(x, at) if broadcast else lanes.load(x, at * lanes.lanes)

    def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        x, y = memory["x"], memory["y"]
        a, b = lanes.load(x, 0), lanes.load(x, lanes.lanes)

        def step(at: Index, sums: list[ir.Value]) -> list[ir.Value]:
            if not vectors:
                return [fma(a, b, total) for total in sums]
            return [fma(a, operand(x, at * CHAINS + chain), total) for chain, total in enumerate(sums)]

        def unit(_: Index, sums: list[ir.Value]) -> list[ir.Value]:
            return carry(0, passes, 1, sums, step) if vectors else step(Index(0), sums)

        _store(lanes, y, carry(begin, end, 1, [lanes.splat(0)] * CHAINS, unit))

    work = passes * CHAINS
    elements = max(passes * CHAINS, 2) * lanes.lanes
    return Probe(name, "f32", elements, _units(work), work, body)


def _read(name: str, isa: Isa, vectors: int) -> Probe:
    """Sums of all vectors of x, one pass per unit."""
    lanes = Vectors(isa.lanes())
    passes = max(vectors // CHAINS, 1)

    def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        x = memory["x"]

        def step(at: Index, sums: list[ir.Value]) -> list[ir.Value]:
            base = at * (CHAINS * lanes.lanes)
            return [add(total, lanes.load(x, base + chain * lanes.lanes)) for chain, total in enumerate(sums)]

        _store(
            lanes,
            memory["y"],
            carry(begin, end, 1, [lanes.splat(0)] * CHAINS, lambda _, sums: carry(0, passes, 1, sums, step)),
        )

    work = passes * CHAINS
    return Probe(name, "f32", work * lanes.lanes, _units(work), work, body)


def _store(lanes: Vectors, y: Buffer, sums: list[ir.Value]) -> None:
    for number, total in enumerate(sums):
        lanes.store(total, y, number * lanes.lanes)
