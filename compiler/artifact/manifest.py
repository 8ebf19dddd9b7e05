"""Programs for a CPU as the facts and blobs of a file, and back.

Each shape has its own code: of the first in `code.bin`, of the second in `code_1.bin`. They share the weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact.check import check_all
from sparsec.artifact.fields import JsonObject, JsonValue, as_int, as_list, as_object, as_str
from sparsec.artifact.file import Contents, by_shape, each_shape
from sparsec.artifact.program import (
    Buffer,
    CodeImage,
    Complaint,
    Piece,
    Program,
    Space,
    Step,
    TargetSpec,
    TensorSpec,
)
from sparsec.errors import ArtifactError

KIND = "cpu"
_STORED_AS = {False: "bytes", True: "float16"}  # what the manifest calls a piece that is not half, and one that is
_BEFORE_PIECES = 2


def facts_of(programs: Sequence[Program]) -> JsonObject:
    """What the manifest says."""
    target, pieces = programs[0].target, programs[0].pieces
    shared: JsonObject = {
        "name": programs[0].name,
        "target": {"triple": target.triple, "isa": target.isa, "features": list(target.features)},
        "weights": {"pieces": [[piece.bytes, _STORED_AS[piece.half]] for piece in pieces]},
    }
    return by_shape(shared, [_own_facts(each) for each in programs])


def _own_facts(program: Program) -> JsonObject:
    code = program.code
    return {
        "inputs": [tensor_json(spec) for spec in program.inputs],
        "outputs": [tensor_json(spec) for spec in program.outputs],
        "arena_bytes": program.arena_bytes,
        "steps": [_step_json(step) for step in program.steps],
        "status": program.status,
        "complaints": [[complaint.where, complaint.what] for complaint in program.complaints],
        "code": {
            "writable_offset": code.writable_offset,
            "entries": dict(code.entries),
            "imports": dict(code.imports),
        },
        "report": program.report,
    }


def blobs_of(programs: Sequence[Program]) -> dict[str, memoryview]:
    """The codes and the weights."""
    weights = np.ascontiguousarray(programs[0].weights, dtype=np.uint8).reshape(-1).data
    codes = {_code_blob(number): memoryview(program.code.image) for number, program in enumerate(programs)}
    return {**codes, "weights": weights}


def _code_blob(number: int) -> str:
    return f"code_{number}" if number else "code"


def programs_of(contents: Contents) -> tuple[Program, ...]:
    """The programs that a file holds, checked. Raises `ArtifactError`, and others for facts of another form."""
    facts = contents.facts
    weights, target = (as_object(facts[name], name) for name in ("weights", "target"))
    name = as_str(facts["name"])
    machine = TargetSpec(
        as_str(target["triple"]), as_str(target["isa"]), tuple(as_str(item) for item in as_list(target["features"]))
    )
    pieces = tuple(_piece(item) for item in as_list(weights["pieces"])) if contents.version > _BEFORE_PIECES else ()
    programs = tuple(
        Program(
            name=name,
            target=machine,
            inputs=tuple(tensor(item) for item in as_list(own["inputs"])),
            outputs=tuple(tensor(item) for item in as_list(own["outputs"])),
            arena_bytes=as_int(own["arena_bytes"]),
            steps=tuple(_step(item) for item in as_list(own["steps"])),
            code=_code(as_object(own["code"], "code"), contents.blobs[_code_blob(number)]),
            weights=contents.blobs["weights"],
            report=as_object(own["report"], "report"),
            status=None if own["status"] is None else as_int(own["status"]),
            complaints=tuple(_complaint(item) for item in as_list(own["complaints"])),
            pieces=pieces,
        )
        for number, own in enumerate(each_shape(facts))
    )
    check_all(programs)
    return programs


def _code(code: JsonObject, image: NDArray[np.uint8]) -> CodeImage:
    return CodeImage(
        image=image.tobytes(),
        writable_offset=as_int(code["writable_offset"]),
        entries={name: as_int(value) for name, value in as_object(code["entries"], "entries").items()},
        imports={name: as_int(value) for name, value in as_object(code["imports"], "imports").items()},
    )


def tensor_json(spec: TensorSpec) -> JsonObject:
    """An input or output."""
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def tensor(value: JsonValue) -> TensorSpec:
    """The input or output that `tensor_json` stated."""
    facts = as_object(value, "tensor")
    return TensorSpec(
        as_str(facts["name"]), as_str(facts["dtype"]), tuple(as_int(dim) for dim in as_list(facts["shape"]))
    )


def _step_json(step: Step) -> JsonObject:
    args: list[JsonValue] = [[argument.space.value, argument.position] for argument in step.args]
    return {"kernel": step.kernel, "layer": step.layer, "extent": step.extent, "grain": step.grain, "args": args}


def _step(value: JsonValue) -> Step:
    facts = as_object(value, "step")
    args = tuple(_buffer(item) for item in as_list(facts["args"]))
    return Step(as_str(facts["kernel"]), args, as_int(facts["extent"]), as_int(facts["grain"]), as_str(facts["layer"]))


def _complaint(value: JsonValue) -> Complaint:
    where, what = as_list(value)
    return Complaint(as_str(where), as_str(what))


def _piece(value: JsonValue) -> Piece:
    size, stored_as = as_list(value)
    for half, name in _STORED_AS.items():
        if stored_as == name:
            return Piece(as_int(size), half)
    raise ArtifactError(
        "The weights are stored in a way that this sparsec does not know.",
        expected=" or ".join(_STORED_AS.values()),
        got=str(stored_as),
        next_step="read it with the sparsec version that wrote it, or compile the model again",
    )


def _buffer(value: JsonValue) -> Buffer:
    space, position = as_list(value)
    return Buffer(Space(space), as_int(position))
