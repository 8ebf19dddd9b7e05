"""Getting a `ModelProto` out of whatever the user has, without reading the bytes of external data."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from sparsec.errors import ModelError

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Source:
    """A private copy of the model, the folder that its external data is relative to, and a name for messages."""

    model: onnx.ModelProto
    folder: Path
    name: str


def read_model(source: str | Path | bytes | onnx.ModelProto) -> Source:
    """Read a path (`.onnx`, `.onnx.gz`), the bytes of either, or a `ModelProto` (copied); raises `ModelError`."""
    if isinstance(source, onnx.ModelProto):
        model = onnx.ModelProto()
        model.CopyFrom(source)
        return _checked(Source(model, Path(), model.graph.name or "model"))
    if isinstance(source, bytes):
        model = _parse(source, "the bytes given")
        return _checked(Source(model, Path(), model.graph.name or "model"))
    path = Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"The model cannot be read: {error.strerror}", where=str(path)) from error
    name = path.name.removesuffix(".gz").removesuffix(".onnx")
    return _checked(Source(_parse(data, str(path)), path.parent, name))


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if data[:2] == GZIP_MAGIC:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ModelError(f"The gzip stream is damaged: {error}", where=where) from error
    if not data:
        raise ModelError("The model is empty", where=where, expected="an ONNX file", got="0 bytes")
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise ModelError(
            "This is not an ONNX model, or it is damaged",
            where=where,
            expected="a serialised onnx.ModelProto",
            got=f"{len(data)} bytes that begin with {data[:16]!r}",
        ) from error
    return model


def _checked(source: Source) -> Source:
    """Refuse what parses as protobuf but is no model."""
    graph = source.model.graph
    if not graph.output:
        raise ModelError(
            "This is not an ONNX model: it has no graph with outputs",
            where=source.name,
            got=f"{len(graph.node)} nodes, {len(graph.input)} inputs, 0 outputs",
        )
    if not source.model.opset_import:
        raise ModelError("The model does not say which operator set it uses (opset_import)", where=source.name)
    constants = [each.name for each in graph.initializer] + [each.values.name for each in graph.sparse_initializer]
    results = [name for node in graph.node for name in node.output if name]
    inputs = [value.name for value in graph.input]
    for values in (inputs + results, constants + results, [value.name for value in graph.output]):
        twice = next((name for name, count in Counter(values).items() if count > 1), None)
        if twice is not None:
            raise ModelError(f"The model has two values of the name {twice!r}", where=source.name)
    return source
