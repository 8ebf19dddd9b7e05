"""Whether a program is consistent: a wrong offset would become a wild pointer."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.artifact.program import NUMPY_DTYPES, PAGE, CodeImage, Program, Space, TensorSpec
from sparsec.errors import ArtifactError


def check(program: Program) -> None:
    """Raise `ArtifactError` unless every offset and index of `program` is inside what it points into."""
    _check_code(program.code)
    require(0 <= program.arena_bytes < 2**48, "the arena size is impossible")
    require((program.status is None) == (not program.complaints), "checks and their status do not belong together")
    if program.status is not None:
        inside = 0 <= program.status <= program.arena_bytes - 8 and program.status % 8 == 0
        require(inside, "the status of checks lies outside the arena")
    check_tensors(program.inputs, "input")
    check_tensors(program.outputs, "output")
    _check_pieces(program)
    _check_steps(program)


def check_all(programs: Sequence[Program]) -> None:
    """Raise `ArtifactError` unless each is consistent, and they are programs of one network for several shapes."""
    require(bool(programs), "there is no program")
    for program in programs:
        check(program)
    first = programs[0]
    for other in programs[1:]:
        alike = (other.name, other.target, other.pieces) == (first.name, first.target, first.pieces)
        require(alike and other.weights is first.weights, "its shapes do not share a network and its weights")
    check_shapes([(program.inputs, program.outputs) for program in programs])


def check_shapes(tensors: Sequence[tuple[Sequence[TensorSpec], Sequence[TensorSpec]]]) -> None:
    """Raise `ArtifactError` unless these inputs and outputs of programs differ by the shapes of inputs, and by nothing else."""
    names = {tuple(tuple((spec.name, spec.dtype) for spec in specs) for specs in each) for each in tensors}
    require(len(names) <= 1, "its shapes have inputs or outputs of different names or dtypes")
    shapes = {tuple(spec.shape for spec in inputs) for inputs, _ in tensors}
    require(len(shapes) == len(tensors), "two of its shapes are the same")


def _check_code(code: CodeImage) -> None:
    size = len(code.image)
    require(code.writable_offset % PAGE == 0, "the writable part of the code does not start at a page")
    require(0 <= code.writable_offset <= size, "the writable part of the code starts outside the image")
    for name, offset in code.entries.items():
        require(0 <= offset < code.writable_offset, f"entry {name!r} lies outside the code")
    for name, offset in code.imports.items():
        inside = code.writable_offset <= offset <= size - 8 and offset % 8 == 0
        require(inside, f"the slot of import {name!r} lies outside the writable part of the code")


def _check_pieces(program: Program) -> None:
    for piece in program.pieces:
        possible = 0 <= piece.bytes < 2**48 and not (piece.half and piece.bytes % 4)
        require(possible, "a piece of the weights has an impossible size")
    stored = sum(piece.stored_bytes for piece in program.pieces)
    require(not program.pieces or stored == program.weights.nbytes, "the pieces of the weights are not what is stored")


def _check_steps(program: Program) -> None:
    limits = {
        Space.INPUT: len(program.inputs) - 1,
        Space.OUTPUT: len(program.outputs) - 1,
        Space.WEIGHTS: program.weight_bytes,
        Space.ARENA: program.arena_bytes,
    }
    for index, step in enumerate(program.steps):
        where = f"step {index} ({step.kernel})"
        require(step.kernel in program.code.entries, f"{where} calls a kernel that is not in the code")
        require(0 <= step.extent < 2**62 and 1 <= step.grain < 2**63, f"{where} has an impossible extent or grain")
        for argument in step.args:
            inside = 0 <= argument.position <= limits[argument.space]
            require(inside, f"{where} points outside {argument.space.value} at {argument.position}")


def check_tensors(specs: Sequence[TensorSpec], what: str) -> None:
    """Raise `ArtifactError` unless these inputs or outputs have names of their own, known dtypes and possible shapes."""
    require(len({spec.name for spec in specs}) == len(specs), f"two {what}s have the same name")
    for spec in specs:
        require(spec.dtype in NUMPY_DTYPES, f"{what} {spec.name!r} has the unknown dtype {spec.dtype!r}")
        possible = all(0 <= dim < 2**48 for dim in spec.shape) and spec.nbytes < 2**48
        require(possible and len(spec.shape) <= 32, f"{what} {spec.name!r} has an impossible shape")


def require(condition: bool, fault: str) -> None:
    """Raise `ArtifactError` with the fault unless the condition holds."""
    if not condition:
        raise ArtifactError(f"The program is not consistent: {fault}.", next_step="compile the model again")
