"""Which of several ways to launch the same thing is the fastest on the GPU at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.graphs import Graphs
from sparsec.cuda.device.order import Event, Stream

LAUNCHES, ROUNDS = 8, 4  # of a graph, and how often it runs


def fastest(on: Device, contestants: Sequence[Callable[[int], None]]) -> int:
    """The number of the one whose launches on a stream take the least time, the best of some rounds.

    Launches are timed in graphs, where they do not wait for the host, and one after another on the same memory: what the L2
    keeps of that is there each time, so this is for launches that are bound by arithmetic.
    """
    with on.current(), ExitStack() as kept:
        stream, graphs = Stream(on), Graphs(on)
        kept.callback(stream.close)
        kept.callback(graphs.close)
        begin, end = Event(on, timed=True), Event(on, timed=True)
        kept.callback(begin.close)
        kept.callback(end.close)
        for launch in contestants:
            launch(stream.handle)  # makes kernels and memory
        stream.synchronize()
        times: list[list[int]] = [[] for _ in contestants]
        for _ in range(ROUNDS):
            for number, launch in enumerate(contestants):
                begin.record(stream.handle)
                graphs.launch((number,), _repeated(launch), stream.handle)
                end.record(stream.handle)
                stream.synchronize()
                times[number].append(end.nanoseconds_since(begin))
        return min(range(len(contestants)), key=lambda number: min(times[number][1:]))


def _repeated(launch: Callable[[int], None]) -> Callable[[int], None]:
    def launches(stream: int) -> None:
        for _ in range(LAUNCHES):
            launch(stream)

    return launches
