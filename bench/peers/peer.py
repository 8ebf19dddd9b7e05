"""What a peer is: an engine opened once, which makes a contestant of each layer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Array = NDArray[np.generic]
Arrays = tuple[Array, ...]
Out = TypeVar("Out")
Out_co = TypeVar("Out_co", covariant=True)


class AbsentError(Exception):
    """The peer cannot be had on this machine; the message says why."""


class FailedError(Exception):
    """The peer cannot run this layer; the message says why."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Y = W X. `weight` is W [M, K] with its zeros in place; `x` [K, N] and `tokens` [N, K] are the same activations.

    Engines that run models take `tokens`, as models store them; libraries for matrices take `x`. All are C-contiguous.
    """

    weight: F32
    x: F32
    tokens: F32


@dataclass(frozen=True, slots=True)
class Turn:
    """Nanoseconds per call: by the clock on the wall, and of processor time of all threads of the process."""

    wall_ns: float
    cpu_ns: float


class Racer(Protocol):
    """What takes turns in a race."""

    def turn(self, calls: int, /) -> Turn:
        """Call once untimed and then `calls` times timed."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Contestant(Racer, Protocol[Out_co]):
    """One layer or one network in one engine; `Out` is what it computes: Y [M, N] of a layer, all outputs of a network."""

    def output(self) -> Out_co:
        """Of the last call."""
        ...


class Engine(Protocol):
    """A peer that is there."""

    @property
    def version(self) -> str:
        """Of the library."""
        ...

    def enter(self, layer: Layer) -> Contestant[F32]:
        """Prepare a layer; raises `FailedError`."""
        ...

    def close(self) -> None:
        """End processes and delete files."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """A row of the table. `open` raises `AbsentError`; `install` is what to do about it. `dense` if it multiplies zeros too."""

    name: str
    dense: bool
    install: str
    open: Callable[[], Engine]


class Calls(Generic[Out]):
    """A contestant in this process; `release` frees what Python does not."""

    def __init__(
        self, run: Callable[[], object], output: Callable[[], Out], release: Callable[[], object] = lambda: None
    ) -> None:
        self._run: Callable[[], object] | None = run
        self._output: Callable[[], Out] | None = output
        self._release = release

    def turn(self, calls: int, /) -> Turn:
        assert self._run is not None, "the contestant is closed"
        return timed(self._run, calls)

    def output(self) -> Out:
        assert self._output is not None, "the contestant is closed"
        return self._output()

    def close(self) -> None:
        self._run = self._output = None
        self._release()


def timed(run: Callable[[], object], calls: int) -> Turn:
    """Run once untimed, which brings its data back into the caches, and then `calls` times timed."""
    run()
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    for _ in range(calls):
        run()
    return Turn((time.perf_counter_ns() - wall) / calls, (time.process_time_ns() - cpu) / calls)
