"""What a compiled program for a CPU is: tensors, steps with their buffers, code, weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact.fields import JsonObject

PAGE = 4096  # where what is mapped may begin
WEIGHT_ALIGNMENT = 64

# bfloat16 has no NumPy dtype: its arrays hold the 16 bits of each number as uint16.
NUMPY_DTYPES: Mapping[str, np.dtype[np.generic]] = {
    **{name: np.dtype(name) for name in ("float64", "float32", "float16", "bool")},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bfloat16": np.dtype("uint16"),
}


class Space(Enum):
    """Where a buffer lives: `position` counts tensors in INPUT and OUTPUT, and bytes in WEIGHTS and ARENA."""

    INPUT = "input"
    OUTPUT = "output"
    WEIGHTS = "weights"
    ARENA = "arena"


@dataclass(frozen=True, slots=True)
class Buffer:
    """One pointer argument of a step."""

    space: Space
    position: int


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel call.

    Units [0, extent) may be split among threads in chunks of at least `grain`; grain >= extent is serial.
    """

    kernel: str
    args: tuple[Buffer, ...]
    extent: int
    grain: int
    layer: str


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype (a key of `NUMPY_DTYPES`) and static shape of an input or output; row-major, contiguous."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * NUMPY_DTYPES[self.dtype].itemsize

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class CodeImage:
    """A flat position-independent image; `imports` maps an external symbol to its 8-byte slot in the writable tail."""

    image: bytes = field(repr=False)
    writable_offset: int
    entries: dict[str, int]
    imports: dict[str, int]


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """The machine that the code needs: LLVM triple, ISA name and the CPU features that must be present."""

    triple: str
    isa: str
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a check of the network says when it fails, and the node that it belongs to."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Piece:
    """So many bytes of the weights in memory, stored as they are or, float32, as float16."""

    bytes: int
    half: bool

    @property
    def stored_bytes(self) -> int:
        """Bytes in the file."""
        return self.bytes // 2 if self.half else self.bytes


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Everything of a `Program` but its code: what code in any other form is linked with.

    `floats` are offset and number of elements of each float32 array in the weights. With `pieces`, `weights` are what is
    stored, and these say how memory is made of it.
    """

    name: str
    target: TargetSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    arena_bytes: int
    steps: tuple[Step, ...]
    weights: NDArray[np.uint8] = field(repr=False)
    report: JsonObject = field(repr=False)
    status: int | None = None
    complaints: tuple[Complaint, ...] = ()
    floats: tuple[tuple[int, int], ...] = ()
    pieces: tuple[Piece, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in memory."""
        return _memory_bytes(self.weights, self.pieces)

    @property
    def kernels(self) -> list[str]:
        """Names of the functions that steps call."""
        return sorted({step.kernel for step in self.steps})

    def with_code(self, code: CodeImage) -> Program:
        return Program(
            name=self.name,
            target=self.target,
            inputs=self.inputs,
            outputs=self.outputs,
            arena_bytes=self.arena_bytes,
            steps=self.steps,
            code=code,
            weights=self.weights,
            report=self.report,
            status=self.status,
            complaints=self.complaints,
            pieces=self.pieces,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A compiled network; `weights` is a flat uint8 array, `report` is opaque here and must be JSON-able.

    `status` is the arena offset of an int64 that is zero before a run; a step whose check number i fails stores i + 1
    there, and `complaints[i]` says what that means. None if the network has no checks. With `pieces`, `weights` are what is
    stored, and these say how memory is made of it.
    """

    name: str
    target: TargetSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    arena_bytes: int
    steps: tuple[Step, ...]
    code: CodeImage
    weights: NDArray[np.uint8] = field(repr=False)
    report: JsonObject = field(repr=False)
    status: int | None = None
    complaints: tuple[Complaint, ...] = ()
    pieces: tuple[Piece, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in memory."""
        return _memory_bytes(self.weights, self.pieces)


def _memory_bytes(weights: NDArray[np.uint8], pieces: tuple[Piece, ...]) -> int:
    return sum(piece.bytes for piece in pieces) if pieces else weights.nbytes
