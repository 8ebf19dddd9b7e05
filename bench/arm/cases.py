"""The file that `runner.c` reads: compiled networks with inputs; and the one that it writes.

Numbers have 64 bits and are little-endian; every piece begins at a multiple of 64 bytes:

    number of networks
    for each: header (counts and sizes, features), code, imports (name, slot), steps, buffers, weights, their pieces,
              sizes of tensors, inputs
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact import NUMPY_DTYPES, Program, Space

Array = NDArray[np.generic]
OK, LACKS_FEATURE = 0, 100
_ALIGNMENT, _NAME, _FEATURES = 64, 56, 256
_SPACES = {Space.INPUT: 0, Space.OUTPUT: 1, Space.WEIGHTS: 2, Space.ARENA: 3}
_NO_STATUS = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Case:
    """A network, and its inputs in order."""

    program: Program
    inputs: Sequence[Array]


@dataclass(frozen=True, slots=True)
class Result:
    """How a network ended (`OK`, `LACKS_FEATURE` or a status of sparsec.h), and its outputs in order."""

    status: int
    outputs: list[Array]


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    """Write the file that the runner reads."""
    with path.open("wb") as file:
        for piece in (struct.pack("<Q", len(cases)), *(piece for case in cases for piece in _pieces(case))):
            file.write(piece)
            file.write(bytes(-len(piece) % _ALIGNMENT))


def read_results(path: Path, cases: Iterable[Case]) -> list[Result]:
    """The outputs of `cases` from the file that the runner wrote."""
    data, at, results = path.read_bytes(), 0, []
    for case in cases:
        (status,) = struct.unpack_from("<q", data, at)
        at += 8
        outputs = []
        for spec in case.program.outputs:
            outputs.append(np.frombuffer(data[at : at + spec.nbytes], NUMPY_DTYPES[spec.dtype]).reshape(spec.shape))
            at += spec.nbytes
        results.append(Result(status, outputs))
    return results


def _pieces(case: Case) -> Iterator[bytes]:
    program, code = case.program, case.program.code
    arguments = [argument for step in program.steps for argument in step.args]
    counts = (
        len(code.image),
        code.writable_offset,
        len(code.imports),
        len(program.steps),
        len(arguments),
        program.weights.nbytes,
        program.arena_bytes,
        _NO_STATUS if program.status is None else program.status,
        len(program.inputs),
        len(program.outputs),
        len(program.pieces),
    )
    yield struct.pack(f"<11Q{_FEATURES}s", *counts, " ".join(program.target.features).encode())
    yield code.image
    yield b"".join(struct.pack(f"<{_NAME}sQ", name.encode(), slot) for name, slot in code.imports.items())
    yield b"".join(_steps(program))
    yield b"".join(struct.pack("<QQ", _SPACES[each.space], each.position) for each in arguments)
    yield program.weights.tobytes()
    yield b"".join(struct.pack("<QQ", each.bytes, each.half) for each in program.pieces)
    yield b"".join(struct.pack("<Q", spec.nbytes) for spec in (*program.inputs, *program.outputs))
    for spec, value in zip(program.inputs, case.inputs, strict=True):
        tensor = np.ascontiguousarray(value, NUMPY_DTYPES[spec.dtype])
        assert tensor.nbytes == spec.nbytes
        yield tensor.tobytes()


def _steps(program: Program) -> Iterator[bytes]:
    first = 0
    for step in program.steps:
        yield struct.pack("<QQqq", program.code.entries[step.kernel], first, step.extent, step.grain)
        first += len(step.args)
