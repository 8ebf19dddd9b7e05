"""The C core as typed Python functions: finding the shared library, its structures, its status codes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact import PAGE, Piece, Program, Space
from sparsec.errors import ArtifactError, InputError, SparsecError

_INTERFACE = 4  # SPARSEC_INTERFACE of native/sparsec.h
_SPACES = {Space.INPUT: 0, Space.OUTPUT: 1, Space.WEIGHTS: 2, Space.ARENA: 3}
_OK, _NO_MEMORY, _UNKNOWN_IMPORT, _NO_EXECUTABLE_MEMORY, _BAD_IMAGE, _FAILED_CHECK = range(6)
_NO_STATUS = 2**64 - 1  # SPARSEC_NO_STATUS


class _Buffer(ctypes.Structure):
    _fields_ = (("space", ctypes.c_uint64), ("position", ctypes.c_uint64))


class _Step(ctypes.Structure):
    _fields_ = (
        ("entry", ctypes.c_uint64),
        ("first_arg", ctypes.c_uint64),
        ("extent", ctypes.c_int64),
        ("grain", ctypes.c_int64),
    )


class _Import(ctypes.Structure):
    _fields_ = (("symbol", ctypes.c_char_p), ("slot", ctypes.c_uint64))


class _Piece(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_uint64), ("half", ctypes.c_uint64))


class _Program(ctypes.Structure):
    _fields_ = (
        ("image", ctypes.c_char_p),
        ("image_bytes", ctypes.c_uint64),
        ("writable_offset", ctypes.c_uint64),
        ("imports", ctypes.POINTER(_Import)),
        ("import_count", ctypes.c_uint64),
        ("steps", ctypes.POINTER(_Step)),
        ("step_count", ctypes.c_uint64),
        ("buffers", ctypes.POINTER(_Buffer)),
        ("buffer_count", ctypes.c_uint64),
        ("weights", ctypes.c_void_p),
        ("arena_bytes", ctypes.c_uint64),
        ("status", ctypes.c_uint64),
        ("pieces", ctypes.POINTER(_Piece)),
        ("piece_count", ctypes.c_uint64),
    )


@cache
def _core() -> ctypes.CDLL:
    folder = Path(__file__).parent  # of an editable install: links, with the library beside them or at their ends
    found = [*sorted(folder.glob("_native*.so")), *sorted(Path(__file__).resolve().parent.glob("_native*.so"))]
    if not found:
        raise SparsecError(
            "The C core of the runtime is missing.",
            where=str(folder),
            expected="_native*.so",
            next_step="install sparsec with a C compiler present",
        )
    core = ctypes.CDLL(str(found[0]))
    interface = core.sparsec_interface() if hasattr(core, "sparsec_interface") else 0
    if interface != _INTERFACE:
        raise SparsecError(
            "The C core of the runtime was built from another version.",
            where=str(found[0]),
            expected=f"interface {_INTERFACE}",
            got=f"interface {interface}",
            next_step="install sparsec again",
        )
    core.sparsec_pool_create.restype = ctypes.c_void_p
    core.sparsec_pool_create.argtypes = (ctypes.c_int64,)
    core.sparsec_pool_destroy.restype = None
    core.sparsec_pool_destroy.argtypes = (ctypes.c_void_p,)
    core.sparsec_model_create.argtypes = (
        ctypes.POINTER(_Program),
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(ctypes.c_uint64),
    )
    core.sparsec_model_weights.restype = ctypes.c_void_p
    core.sparsec_model_weights.argtypes = (ctypes.c_void_p,)
    core.sparsec_model_destroy.restype = None
    core.sparsec_model_destroy.argtypes = (ctypes.c_void_p,)
    core.sparsec_cpu_features.restype = ctypes.c_uint64
    core.sparsec_cpu_feature_name.restype = ctypes.c_char_p
    core.sparsec_cpu_feature_name.argtypes = (ctypes.c_int64,)
    core.sparsec_has_import.argtypes = (ctypes.c_char_p,)
    return core


@cache
def cpu_features() -> frozenset[str]:
    """Return the features of this processor that its operating system supports too, by LLVM's names."""
    core = _core()
    bits: int = core.sparsec_cpu_features()
    names: list[str] = []
    while (name := core.sparsec_cpu_feature_name(len(names))) is not None:
        names.append(name.decode())
    return frozenset(name for bit, name in enumerate(names) if bits >> bit & 1)


def has_import(symbol: str) -> bool:
    """Tell whether generated code may call `symbol`."""
    return bool(_core().sparsec_has_import(symbol.encode()))


Tensors: TypeAlias = tuple["ctypes.Array[ctypes.c_void_p]", "ctypes.Array[ctypes.c_void_p]"]


class Pool:
    """A set of `threads` threads, the caller's among them; closed once, after the last run."""

    __slots__ = ("_handle",)

    def __init__(self, threads: int) -> None:
        self._handle: int | None = _core().sparsec_pool_create(threads)
        if self._handle is None:
            raise SparsecError("The threads of the runtime cannot be started.", got=f"{threads} threads")

    @property
    def handle(self) -> int:
        """The address of the C pool."""
        assert self._handle is not None, "the pool is closed"
        return self._handle

    def close(self) -> None:
        """End the threads."""
        handle, self._handle = self._handle, None
        if handle is not None:
            _core().sparsec_pool_destroy(handle)


class Model:
    """A program mapped executable; may run in many threads at once; closed once, after the last run.

    `beside` is a model of the same weights for another shape, whose memory they stay in: it is to be closed after this one.
    """

    __slots__ = ("_complaints", "_handle", "_inputs", "_outputs", "_weights", "step_count")

    def __init__(self, program: Program, beside: Model | None = None) -> None:
        self._weights: NDArray[np.uint8]
        stored: Sequence[Piece] = ()
        if beside is not None:
            self._weights = beside._weights
            address = _core().sparsec_model_weights(beside._handle)
        else:
            self._weights, stored = program.weights if program.pieces else _aligned(program.weights), program.pieces
            address = self._weights.ctypes.data
        self._inputs = ctypes.c_void_p * len(program.inputs)
        self._outputs = ctypes.c_void_p * len(program.outputs)
        self._complaints = program.complaints
        self.step_count = len(program.steps)
        self._handle: int | None = _create(program, address, stored)

    def tensors(self, inputs: Sequence[int], outputs: Sequence[int]) -> Tensors:
        """The addresses of the tensors of a run, as the core takes them."""
        return self._inputs(*inputs), self._outputs(*outputs)

    def prepared(self, pool: Pool, tensors: Tensors, step_ns: int | None = None) -> Callable[[], None]:
        """What runs once on `tensors` each time it is called; `step_ns` is the address of `step_count` int64, or None.

        Its arguments are of their types already: ctypes takes half a microsecond to convert them. It raises `InputError` if
        a check of the network fails, with what it says and the node that it belongs to.
        """
        assert self._handle is not None, "the model is closed"
        failed = ctypes.c_int64()
        model, threads, times = (ctypes.c_void_p(each) for each in (self._handle, pool.handle, step_ns))
        run = partial(_core().sparsec_model_run, model, threads, *tensors, times, ctypes.byref(failed))

        def call() -> None:
            status: int = run()
            if status != _OK:
                raise self._failure(status, failed.value)

        return call

    def _failure(self, status: int, check: int) -> SparsecError:
        """Why a run failed; `check` is the number of a check of the network, if it is that."""
        if status == _FAILED_CHECK:
            complaint = self._complaints[check]
            return InputError(f"A check failed while the model ran: {complaint.what}.", where=complaint.where)
        return SparsecError("There is not enough memory for the arena of this run.")

    def close(self) -> None:
        """Unmap the code and free the arenas."""
        handle, self._handle = self._handle, None
        if handle is not None:
            _core().sparsec_model_destroy(handle)


def _aligned(weights: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `weights` at an address that is a multiple of the page: as it is when mapped from a file, else copied."""
    if weights.ctypes.data % PAGE == 0 or weights.nbytes == 0:
        return weights
    room = np.empty(weights.nbytes + PAGE, np.uint8)
    start = -room.ctypes.data % PAGE
    room[start : start + weights.nbytes] = weights
    return room[start : start + weights.nbytes]


def _create(program: Program, weights: int, stored: Sequence[Piece]) -> int:
    code = program.code
    symbols = list(code.imports)
    imports = (_Import * len(symbols))(*(_Import(name.encode(), code.imports[name]) for name in symbols))
    arguments = [argument for step in program.steps for argument in step.args]
    buffers = (_Buffer * len(arguments))(*(_Buffer(_SPACES[each.space], each.position) for each in arguments))
    steps = (_Step * len(program.steps))()
    first = 0
    for row, step in zip(steps, program.steps, strict=True):
        row.entry, row.first_arg, row.extent, row.grain = code.entries[step.kernel], first, step.extent, step.grain
        first += len(step.args)
    pieces = (_Piece * len(stored))(*(_Piece(each.bytes, each.half) for each in stored))
    description = _Program(
        image=code.image,
        image_bytes=len(code.image),
        writable_offset=code.writable_offset,
        imports=imports,
        import_count=len(imports),
        steps=steps,
        step_count=len(steps),
        buffers=buffers,
        buffer_count=len(buffers),
        weights=weights,
        arena_bytes=program.arena_bytes,
        status=_NO_STATUS if program.status is None else program.status,
        pieces=pieces,
        piece_count=len(pieces),
    )
    model, culprit = ctypes.c_void_p(), ctypes.c_uint64()
    status = _core().sparsec_model_create(ctypes.byref(description), ctypes.byref(model), ctypes.byref(culprit))
    if status == _UNKNOWN_IMPORT:
        raise ArtifactError(
            "The code calls a function that this runtime does not offer.",
            got=symbols[culprit.value],
            next_step="run it with the sparsec version that compiled it, or compile the model again",
        )
    if status == _NO_EXECUTABLE_MEMORY:
        raise ArtifactError("The system does not allow the code to be mapped executable.")
    if status == _BAD_IMAGE:
        raise ArtifactError("The code image is not consistent.", next_step="compile the model again")
    if status != _OK or model.value is None:
        raise SparsecError("There is not enough memory to load the model.")
    return model.value
