"""Calibration: small kernels whose times are the roofs of one core, and what all cores together read from what they share;
and the machine that follows from their times.

Generated as all kernels are, for the target's own vectors; whoever can compile and time them (`sparsec.tune.roofs`)
gives the nanoseconds back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.cost.machine import GENERIC, Machine
from sparsec.kernels.emit import Buffer, Vectors, add, carry, define, fma
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa

CHAINS = 12  # independent sums: more than latency times throughput anywhere, and fit 16 registers beside two operands
CLOCK_CHAIN = 64  # dependent one-cycle integer operations in one unit
_L1_SHARE, _L2_SHARE, _L3_SHARE = 0.33, 0.5, 0.25  # of a cache: what surely stays in it (others share L3)
_L3_SHARE_OF_ALL = 0.5
_MEMORY_OF_L3, _MOST_MEMORY = 3, 256 << 20  # what surely does not stay in L3, within reason
_PROBE_NS = 1e6  # about how long one run of a probe takes

Body = Callable[[Mapping[str, Buffer], Index, Index], None]


@dataclass(frozen=True, slots=True)
class Probe:
    """A kernel over "x" (`elements` of `dtype`) and "y"; one run is `units` units of `work` vectors or operations each, in equal
    parts for `threads` threads."""

    name: str
    dtype: str
    elements: int
    units: int
    work: int
    body: Body
    threads: int = 1

    @property
    def outputs(self) -> int:
        """Elements of "y"."""
        return CHAINS * 16

    def define(self, module: ir.Module) -> None:
        """Add the function `name` to the module."""
        define(module, self.name, {"x": (self.dtype, self.elements), "y": (self.dtype, self.outputs)}, self.body)


def probes(isa: Isa, caches: Mapping[int, int]) -> list[Probe]:
    """One probe per roof; `caches` are bytes by level, where they are known."""
    l1, l2, l3 = _sizes(caches)
    sizes = {
        "read_l1": int(l1 * _L1_SHARE),
        "read_l2": int(l2 * _L2_SHARE),
        "read_l3": max(min(int(l3 * _L3_SHARE), 4 * l2), 2 * l2),
        "read_memory": _memory(l3),
    }
    return [
        _clock(),
        _arithmetic("fma", isa, vectors=0),
        _arithmetic("loaded_fma", isa, vectors=sizes["read_l1"] // isa.vector_bytes),
        _arithmetic("broadcast_fma", isa, vectors=64, broadcast=True),
        *(_read(name, isa, size // isa.vector_bytes) for name, size in sizes.items()),
    ]


def shared_probes(isa: Isa, caches: Mapping[int, int], cores: int) -> list[Probe]:
    """What all cores do at once, to know how much of it they share; nothing for one core."""
    if cores == 1:
        return []
    _, l2, l3 = _sizes(caches)
    sizes = {"read_l3_by_all": max(int(l3 * _L3_SHARE_OF_ALL), 2 * l2), "read_memory_by_all": _memory(l3)}
    return [_clock(cores), *(_read(name, isa, size // isa.vector_bytes, cores) for name, size in sizes.items())]


def machine_of(
    name: str, times: Mapping[str, float], used: list[Probe], isa: Isa, caches: Mapping[int, int], cores: int
) -> Machine:
    """The roofs from `times`, nanoseconds per run by the names of the probes, with `shared_probes` or without."""
    per_ns = {probe.name: probe.units * probe.work / max(times[probe.name], 1.0) for probe in used}
    ghz = per_ns["clock"]
    l1, l2, l3 = _sizes(caches)

    def bytes_per_cycle(probe: str) -> float:
        return round(per_ns[probe] * isa.vector_bytes / ghz, 3)

    def cores_of(probe: str) -> float:
        """How many cores read all that all of them read together."""
        return round(min(max(per_ns[f"{probe}_by_all"] / per_ns[probe], 1.0), cores), 3)

    machine = Machine(
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
    if "read_l3_by_all" not in per_ns:
        return machine
    return replace(machine, far_cores=cores_of("read_l3"), memory_cores=cores_of("read_memory"))


def cores_at_work(times: Mapping[str, float], used: Sequence[Probe]) -> float:
    """How many cores the threads of `shared_probes` had, by their clocks together: fewer than threads if others had some."""
    work = {probe.name: probe.units for probe in used}
    return work["clock_by_all"] / times["clock_by_all"] * times["clock"] / work["clock"]


def _sizes(caches: Mapping[int, int]) -> tuple[int, int, int]:
    """Bytes of L1, L2 and L3."""
    return caches.get(1, GENERIC.l1_bytes), caches.get(2, GENERIC.l2_bytes), caches.get(3, GENERIC.l3_bytes)


def _memory(l3: int) -> int:
    """So many bytes do not stay in L3."""
    return min(_MEMORY_OF_L3 * l3, _MOST_MEMORY)


def _units(work: int) -> int:
    """Enough units for a run of about `_PROBE_NS`, at two vectors or operations per cycle."""
    return max(1, int(_PROBE_NS * 2 * GENERIC.ghz / work))


def _clock(threads: int = 1) -> Probe:
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

    units = threads * int(_PROBE_NS * GENERIC.ghz / CLOCK_CHAIN)
    return Probe("clock" if threads == 1 else "clock_by_all", "i64", 3, units, CLOCK_CHAIN, body, threads)


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


def _read(name: str, isa: Isa, vectors: int, threads: int = 1) -> Probe:
    """Sums of all vectors of x, in as many parts as there are threads: thread t begins with part t, reads all of x some times,
    and ends where it began. So each reads what the others have read long before."""
    lanes = Vectors(isa.lanes())
    passes = max(vectors // CHAINS // threads, 1)
    work = passes * CHAINS

    def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        x = memory["x"]

        def part(unit: Index, sums: list[ir.Value]) -> list[ir.Value]:
            first = unit % threads * (work * lanes.lanes)

            def step(at: Index, sums: list[ir.Value]) -> list[ir.Value]:
                base = first + at * (CHAINS * lanes.lanes)
                return [add(total, lanes.load(x, base + chain * lanes.lanes)) for chain, total in enumerate(sums)]

            return carry(0, passes, 1, sums, step)

        _store(lanes, memory["y"], carry(begin, end, 1, [lanes.splat(0)] * CHAINS, part))

    units = threads * (_units(work * threads) * threads + 1)
    return Probe(name, "f32", threads * work * lanes.lanes, units, work, body, threads)


def _store(lanes: Vectors, y: Buffer, sums: list[ir.Value]) -> None:
    for number, total in enumerate(sums):
        lanes.store(total, y, number * lanes.lanes)
