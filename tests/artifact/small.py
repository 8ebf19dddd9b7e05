"""A small program, and its file with another manifest."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path

import numpy as np

from sparsec.artifact import (
    Buffer,
    CodeImage,
    JsonObject,
    Program,
    Space,
    Step,
    TargetSpec,
    TensorSpec,
)
from sparsec.artifact.container import write_members

IMAGE = bytes(range(256)) * 16 + bytes(16)


def small_program(weights: int = 5000) -> Program:
    """Some program with all kinds of things."""
    return Program(
        name="small",
        target=TargetSpec("x86_64-unknown-linux-gnu", "x86-64-v3", ("avx2", "fma")),
        inputs=(TensorSpec("x", "float32", (2, 3)), TensorSpec("mask", "bool", ())),
        outputs=(TensorSpec("y", "bfloat16", (6,)),),
        arena_bytes=4096,
        steps=(
            Step("relu", (Buffer(Space.INPUT, 0), Buffer(Space.ARENA, 64)), 6, 6, "relu.0"),
            Step("gemm", (Buffer(Space.ARENA, 64), Buffer(Space.WEIGHTS, 128), Buffer(Space.OUTPUT, 0)), 6, 2, "fc"),
        ),
        code=CodeImage(IMAGE, 4096, {"relu": 0, "gemm": 64}, {"expf": 4096, "memcpy": 4104}),
        weights=np.arange(weights, dtype=np.uint32).astype(np.uint8),
        report={"layers": [{"name": "fc", "density": 0.25}]},
    )


def small_programs() -> tuple[Program, ...]:
    """The same for three shapes, with code, work memory and steps of their own."""
    first = small_program()
    second = dataclasses.replace(
        first,
        inputs=(TensorSpec("x", "float32", (5, 3)), first.inputs[1]),
        outputs=(TensorSpec("y", "bfloat16", (15,)),),
        arena_bytes=8192,
        code=CodeImage(bytes(8192), 8192, {"relu": 0, "gemm": 4096}, {}),
        report={"layers": []},
    )
    third = dataclasses.replace(first, inputs=(TensorSpec("x", "float32", (0, 3)), first.inputs[1]), steps=())
    return first, second, third


def same(one: Program, other: Program) -> bool:
    """Whether two programs are equal."""
    names = [field.name for field in dataclasses.fields(Program) if field.name != "weights"]
    equal = all(getattr(one, name) == getattr(other, name) for name in names)
    return equal and bool(np.array_equal(one.weights, other.weights))


def manifest_of(written: bytes) -> bytes:
    """The text of the manifest."""
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        return archive.read("manifest.json")


def with_manifest(written: bytes, scratch: Path, change: JsonObject) -> None:
    """Write the artifact with other top-level manifest keys, and with checksums that fit."""
    scratch.write_bytes(written)
    with zipfile.ZipFile(scratch) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = {**json.loads(members["manifest.json"]), **change}
    members["manifest.json"] = json.dumps(manifest).encode()
    write_members(scratch, {name: memoryview(content) for name, content in members.items()})
