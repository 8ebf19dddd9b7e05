"""A loaded model: tensors in, tensors out, from as many threads as call it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sparsec import artifact
from sparsec.artifact import JsonObject, Program, TensorSpec
from sparsec.errors import InputError, UsageError
from sparsec.runtime import library, processor, tensors
from sparsec.runtime.shapes import pick
from sparsec.runtime.tensors import Array, Feeds


class Session:
    """A program that is ready to run; or several, of one network for several shapes: a run is of that whose shapes it has.

    Those share the weights and the threads, and each gets ready when it is first used. Without more said, the first is meant.
    `threads` defaults to the processors that this process may use. Calls from several threads run at once: the first
    uses the session's threads, the others each work on the thread that called. After a fork, the child gets threads
    of its own.

    Raises `ArtifactError` if the file is damaged or compiled for features that this processor lacks.
    """

    def __init__(
        self, program: Program | Sequence[Program] | str | os.PathLike[str], *, threads: int | None = None
    ) -> None:
        if isinstance(program, (str, os.PathLike)):
            self._programs = artifact.read_all(program)
        else:
            self._programs = (program,) if isinstance(program, Program) else tuple(program)
            artifact.check_all(self._programs)
        processor.check(self.program.target)
        self._inputs = [each.inputs for each in self._programs]
        self._threads = _thread_count(threads)
        self._models = {0: library.Model(self.program)}
        self._pool = library.Pool(self._threads)
        self._lock = threading.Lock()
        self._running: list[None] = []  # one for each run: adding and removing is atomic, and takes less than a lock
        self._closed = False
        self._native_closed = self._to_be_closed()
        _sessions.add(self)

    @property
    def programs(self) -> tuple[Program, ...]:
        """What is loaded: one for each shape."""
        return self._programs

    @property
    def program(self) -> Program:
        """The first of them."""
        return self._programs[0]

    @property
    def name(self) -> str:
        """The network's."""
        return self.program.name

    @property
    def report(self) -> JsonObject:
        """What the compiler said."""
        return self.program.report

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Names, dtypes and shapes of the inputs."""
        return self.program.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Names, dtypes and shapes of the outputs."""
        return self.program.outputs

    @property
    def threads(self) -> int:
        """How many threads one run may use."""
        return self._threads

    def run(self, feeds: Feeds, *, out: Feeds | None = None) -> dict[str, Array]:
        """Run the model once and return its outputs by name.

        `feeds` has one tensor per input, by name or in order: NumPy, torch, DLPack or buffer-protocol objects with
        exactly the dtype and shape of the model, used in place if contiguous. `out` likewise has an array per output
        to write to (and then these are returned); without it the outputs are fresh arrays. bfloat16 comes out as
        uint16 that holds the bits. Raises `InputError`, also if the network cannot take a value (an index out of
        range): then `out` holds garbage.
        """
        return self._run(feeds, out, None)

    __call__ = run

    def bind(self, feeds: Feeds, *, out: Feeds | None = None) -> Binding:
        """A run on fixed tensors, for loops in which each microsecond counts: they are checked here, once.

        Each call of the result reads what the arrays of `feeds` hold by then, and writes to those of `out` (fresh ones
        without it), which are its `outputs`. Raises `InputError`, also for inputs that `run` would have to copy first.
        """
        program, model = self._for(feeds)
        pairs = zip(tensors.match(feeds, program.inputs, "input"), program.inputs, strict=True)
        inputs = [tensors.in_place(*pair) for pair in pairs]
        apart = list(inputs)
        outputs = _fresh(program.outputs) if out is None else _given(out, program.outputs, apart)
        for spec, array, other in zip(program.inputs, inputs, apart, strict=True):
            if array is not other:
                raise InputError(f"The input {spec.name!r} cannot be bound: it shares memory with an output.")
        return Binding(self, program, model, inputs, outputs)

    def profile(self, feeds: Feeds, repeats: int = 10) -> NDArray[np.int64]:
        """Run `repeats` times and return nanoseconds, shape [repeats, steps], after one run that is not counted."""
        if repeats < 1:
            raise UsageError("A profile needs at least one run.", got=str(repeats))
        times = np.zeros((repeats, self._for(feeds)[1].step_count), np.int64)
        out = self._run(feeds, None, None)
        for row in times:
            self._run(feeds, out, tensors.address(row))
        return times

    def close(self) -> None:
        """Release code, arenas and threads as soon as no run is in flight; further runs raise `UsageError`."""
        with self._lock:
            self._closed = True
        self._release_if_idle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, feeds: Feeds, out: Feeds | None, step_ns: int | None) -> dict[str, Array]:
        program, model = self._for(feeds)
        inputs = [
            tensors.readable(*pair)
            for pair in zip(tensors.match(feeds, program.inputs, "input"), program.inputs, strict=True)
        ]
        outputs = _fresh(program.outputs) if out is None else _given(out, program.outputs, inputs)
        addresses = _addresses(model, inputs, outputs)
        self._start(lambda: model.prepared(self._pool, addresses, step_ns)())
        return {spec.name: array for spec, array in zip(program.outputs, outputs, strict=True)}

    def _for(self, feeds: Feeds) -> tuple[Program, library.Model]:
        """The program for tensors of these shapes, ready to run; raises `InputError` if there is none."""
        number = pick(feeds, self._inputs)
        if number not in self._models:
            with self._lock:
                self._require_open()
                if number not in self._models:
                    self._models[number] = library.Model(self._programs[number], self._models[0])
        return self._programs[number], self._models[number]

    def _require_open(self) -> None:
        if self._closed:
            raise UsageError("The session is closed.", next_step="open a new one")

    def _start(self, run: Callable[[], None]) -> None:
        """Run, unless the session is closed; the last run to end after `close` releases what it used.

        A run is counted before it looks whether the session is closed, and `close` looks at runs after that: one sees the other.
        """
        self._running.append(None)
        try:
            self._require_open()
            run()
        finally:
            self._running.pop()
            self._release_if_idle()

    def _release_if_idle(self) -> None:
        """Release code, arenas and threads, once, if the session is closed and nothing runs."""
        if self._closed and not self._running:
            self._native_closed()

    def _to_be_closed(self) -> weakref.finalize[..., Session]:
        """What releases code, arenas and threads when it is called, or this session is gone."""
        closing = weakref.finalize(self, _close_native, self._models, self._pool)
        closing.atexit = False  # a thread may be in a run to the very end of the process, which releases everything
        return closing

    def _after_fork(self) -> None:
        """Threads do not survive a fork, and runs of other threads do not go on: start afresh with the same code."""
        self._lock = threading.Lock()
        self._running = []
        if self._native_closed.detach() is None:
            return
        self._pool.close()
        self._pool = library.Pool(self._threads)
        self._native_closed = self._to_be_closed()


class Binding:
    """A session and the tensors of its runs: what `Session.bind` makes. It keeps the arrays alive."""

    def __init__(
        self,
        session: Session,
        program: Program,
        model: library.Model,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
    ) -> None:
        self._session, self._model, self._inputs = session, model, inputs
        self._addresses = _addresses(model, inputs, outputs)
        session._start(self._prepare)
        self.outputs = {spec.name: array for spec, array in zip(program.outputs, outputs, strict=True)}

    def __call__(self) -> dict[str, Array]:
        """Run once and return `outputs`, overwritten. Raises `InputError` if the network cannot take a value."""
        session = self._session
        if self._pool is not session._pool:  # after a fork
            session._start(self._prepare)
        session._start(self._run)
        return self.outputs

    def _prepare(self) -> None:
        """Convert what each run is called with."""
        self._pool = self._session._pool
        self._run = self._model.prepared(self._pool, self._addresses)


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def _restart_all() -> None:
    for session in list(_sessions):
        session._after_fork()


os.register_at_fork(after_in_child=_restart_all)


def _close_native(models: Mapping[int, library.Model], pool: library.Pool) -> None:
    pool.close()
    for number in sorted(models, reverse=True):  # the weights are the first's
        models[number].close()


def _addresses(model: library.Model, inputs: Sequence[Array], outputs: Sequence[Array]) -> library.Tensors:
    return model.tensors([*map(tensors.address, inputs)], [*map(tensors.address, outputs)])


def _fresh(specs: Sequence[TensorSpec]) -> list[Array]:
    return [tensors.fresh(spec) for spec in specs]


def _given(out: Feeds, specs: Sequence[TensorSpec], inputs: list[Array]) -> list[Array]:
    """Take the caller's arrays; kernels assume that buffers do not overlap, so an input that does is copied first."""
    arrays = [tensors.writable(*pair) for pair in zip(tensors.match(out, specs, "output"), specs, strict=True)]
    for index, array in enumerate(arrays):
        if any(tensors.overlap(array, other) for other in arrays[:index]):
            raise InputError(f"The array for output {specs[index].name!r} shares memory with another output.")
        for position, other in enumerate(inputs):
            if tensors.overlap(array, other):
                inputs[position] = other.copy()
    return arrays


def _thread_count(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(threads, int) or not 1 <= threads <= 4096:
        raise UsageError("The number of threads is out of range.", expected="1 to 4096", got=str(threads))
    return threads
