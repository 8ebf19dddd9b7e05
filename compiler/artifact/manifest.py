"""A program for a CPU as the facts and blobs of a file, and back."""

from __future__ import annotations

import numpy as np

from sparsec.artifact.check import check
from sparsec.artifact.fields import JsonObject, JsonValue, as_int, as_list, as_object, as_str
from sparsec.artifact.file import Contents
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


def facts_of(program: Program) -> JsonObject:
    """What the manifest says."""
    code = program.code
    return {
        "name": program.name,
        "target": {
            "triple": program.target.triple,
            "isa": program.target.isa,
            "features": list(program.target.features),
        },
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
        "weights": {"pieces": [[piece.bytes, _STORED_AS[piece.half]] for piece in program.pieces]},
        "report": program.report,
    }


def blobs_of(program: Program) -> dict[str, memoryview]:
    """The code and the weights."""
    weights = np.ascontiguousarray(program.weights, dtype=np.uint8).reshape(-1).data
    return {"code": memoryview(program.code.image), "weights": weights}


def program_of(contents: Contents) -> Program:
    """The program that a file holds, checked. Raises `ArtifactError`, and others for facts of another form."""
    facts = contents.facts
    code, weights, target = (as_object(facts[name], name) for name in ("code", "weights", "target"))
    program = Program(
        name=as_str(facts["name"]),
        target=TargetSpec(
            as_str(target["triple"]), as_str(target["isa"]), tuple(as_str(item) for item in as_list(target["features"]))
        ),
        inputs=tuple(tensor(item) for item in as_list(facts["inputs"])),
        outputs=tuple(tensor(item) for item in as_list(facts["outputs"])),
        arena_bytes=as_int(facts["arena_bytes"]),
        steps=tuple(_step(item) for item in as_list(facts["steps"])),
        code=CodeImage(
            image=contents.blobs["code"].tobytes(),
            writable_offset=as_int(code["writable_offset"]),
            entries={name: as_int(value) for name, value in as_object(code["entries"], "entries").items()},
            imports={name: as_int(value) for name, value in as_object(code["imports"], "imports").items()},
        ),
        weights=contents.blobs["weights"],
        report=as_object(facts["report"], "report"),
        status=None if facts["status"] is None else as_int(facts["status"]),
        complaints=tuple(_complaint(item) for item in as_list(facts["complaints"])),
        pieces=tuple(_piece(item) for item in as_list(weights["pieces"])) if contents.version > _BEFORE_PIECES else (),
    )
    check(program)
    return program


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
