"""The `.sparsec` file: what a compiled program is, and how it is written, checked and mapped back.

A file is a plain zip whose three members are stored, not compressed, and start on page boundaries, so that the
runtime can map the weights and standard tools can list, test and unpack it:

    manifest.json   who made it, for what machine, tensors, steps, code entries and imports, the compiler's report
    code.bin        one flat position-independent image: [0, writable_offset) code and constants, then the writable tail
    weights.bin     every weight in its chosen format, at the offsets that the steps name; with `pieces` in the manifest,
                    what that memory is made of, piece by piece: bytes as they are, or floats as halves

Each member has a CRC-32 in the zip directory; the manifest repeats those of code and weights. Reading verifies all of
them and every offset, because a wrong offset would become a wild pointer. Needs NumPy and the standard library only.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.errors import ArtifactError

FORMAT_VERSION = 3
_READABLE_VERSIONS = (2, FORMAT_VERSION)  # 2 had no pieces
PAGE = 4096
WEIGHT_ALIGNMENT = 64
_ZIP64_BYTES = 2**31  # members from here on get 64-bit sizes
_STORED_AS = {False: "bytes", True: "float16"}  # what the manifest calls a piece that is not half, and one that is

# bfloat16 has no NumPy dtype: its arrays hold the 16 bits of each number as uint16.
NUMPY_DTYPES: Mapping[str, np.dtype[np.generic]] = {
    **{name: np.dtype(name) for name in ("float64", "float32", "float16", "bool")},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bfloat16": np.dtype("uint16"),
}

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = "dict[str, JsonValue]"


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


def check(program: Program) -> None:
    """Raise `ArtifactError` unless every offset and index of `program` is inside what it points into."""
    code = program.code
    size = len(code.image)
    _require(code.writable_offset % PAGE == 0, "the writable part of the code does not start at a page")
    _require(0 <= code.writable_offset <= size, "the writable part of the code starts outside the image")
    for name, offset in code.entries.items():
        _require(0 <= offset < code.writable_offset, f"entry {name!r} lies outside the code")
    for name, offset in code.imports.items():
        inside = code.writable_offset <= offset <= size - 8 and offset % 8 == 0
        _require(inside, f"the slot of import {name!r} lies outside the writable part of the code")
    _require(0 <= program.arena_bytes < 2**48, "the arena size is impossible")
    _require((program.status is None) == (not program.complaints), "checks and their status do not belong together")
    if program.status is not None:
        inside = 0 <= program.status <= program.arena_bytes - 8 and program.status % 8 == 0
        _require(inside, "the status of checks lies outside the arena")
    for specs, what in ((program.inputs, "input"), (program.outputs, "output")):
        _require(len({spec.name for spec in specs}) == len(specs), f"two {what}s have the same name")
        for spec in specs:
            _require(spec.dtype in NUMPY_DTYPES, f"{what} {spec.name!r} has the unknown dtype {spec.dtype!r}")
            possible = all(0 <= dim < 2**48 for dim in spec.shape) and spec.nbytes < 2**48
            _require(possible and len(spec.shape) <= 32, f"{what} {spec.name!r} has an impossible shape")
    for piece in program.pieces:
        possible = 0 <= piece.bytes < 2**48 and not (piece.half and piece.bytes % 4)
        _require(possible, "a piece of the weights has an impossible size")
    stored = sum(piece.stored_bytes for piece in program.pieces)
    _require(not program.pieces or stored == program.weights.nbytes, "the pieces of the weights are not what is stored")
    limits = {
        Space.INPUT: len(program.inputs) - 1,
        Space.OUTPUT: len(program.outputs) - 1,
        Space.WEIGHTS: program.weight_bytes,
        Space.ARENA: program.arena_bytes,
    }
    for index, step in enumerate(program.steps):
        where = f"step {index} ({step.kernel})"
        _require(step.kernel in code.entries, f"{where} calls a kernel that is not in the code")
        _require(0 <= step.extent < 2**62 and 1 <= step.grain < 2**63, f"{where} has an impossible extent or grain")
        for argument in step.args:
            inside = 0 <= argument.position <= limits[argument.space]
            _require(inside, f"{where} points outside {argument.space.value} at {argument.position}")


def _require(condition: bool, fault: str) -> None:
    if not condition:
        raise ArtifactError(f"The program is not consistent: {fault}.", next_step="compile the model again")


# --- writing ---------------------------------------------------------------------------------------------------------


def write(program: Program, path: str | os.PathLike[str]) -> None:
    """Write `program` to `path`, whole or not at all; equal programs give equal bytes. Raises `ArtifactError`."""
    check(program)
    weights = np.ascontiguousarray(program.weights, dtype=np.uint8).reshape(-1).data
    manifest = json.dumps(_manifest(program, weights), indent=1).encode()
    members = {
        "manifest.json": memoryview(manifest),
        "code.bin": memoryview(program.code.image),
        "weights.bin": weights,
    }
    try:
        _write_members(Path(path), members)
    except OSError as error:
        raise ArtifactError("The artifact cannot be written.", where=str(path), got=error.strerror) from error


def _write_members(path: Path, members: Mapping[str, memoryview]) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, data in members.items():
                    _add(archive, name, data)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # mkstemp makes private files
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _add(archive: zipfile.ZipFile, name: str, data: memoryview) -> None:
    """Append a stored member that starts at a page boundary, padded by the extra field that Android's zipalign uses."""
    assert archive.fp is not None
    zip64 = data.nbytes >= _ZIP64_BYTES
    header = archive.fp.tell() + 30 + len(name) + (20 if zip64 else 0) + 6
    padding = -header % PAGE
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    info.extra = struct.pack("<HHH", 0xD935, 2 + padding, PAGE) + bytes(padding)
    with archive.open(info, "w", force_zip64=zip64) as member:
        member.write(data)


def _manifest(program: Program, weights: memoryview) -> JsonObject:
    code = program.code
    return {
        "format": "sparsec",
        "format_version": FORMAT_VERSION,
        "sparsec_version": _product_version(),
        "name": program.name,
        "target": {
            "triple": program.target.triple,
            "isa": program.target.isa,
            "features": list(program.target.features),
        },
        "inputs": [_tensor_json(spec) for spec in program.inputs],
        "outputs": [_tensor_json(spec) for spec in program.outputs],
        "arena_bytes": program.arena_bytes,
        "steps": [_step_json(step) for step in program.steps],
        "status": program.status,
        "complaints": [[complaint.where, complaint.what] for complaint in program.complaints],
        "code": {
            "bytes": len(code.image),
            "crc32": zlib.crc32(code.image),
            "writable_offset": code.writable_offset,
            "entries": dict(code.entries),
            "imports": dict(code.imports),
        },
        "weights": {
            "bytes": weights.nbytes,
            "crc32": zlib.crc32(weights),
            "pieces": [[piece.bytes, _STORED_AS[piece.half]] for piece in program.pieces],
        },
        "report": program.report,
    }


def _tensor_json(spec: TensorSpec) -> JsonObject:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _step_json(step: Step) -> JsonObject:
    args: list[JsonValue] = [[argument.space.value, argument.position] for argument in step.args]
    return {"kernel": step.kernel, "layer": step.layer, "extent": step.extent, "grain": step.grain, "args": args}


def _product_version() -> str:
    from importlib import metadata  # slow to import, and only writing needs it

    try:
        return metadata.version("sparsec")
    except metadata.PackageNotFoundError:
        return "uninstalled"


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], *, verify: bool = True) -> Program:
    """Map the artifact at `path`: weights stay in the file (read-only, paged in on use).

    Do not change a mapped file in place; `write` never does, it puts a new file under the same name.

    `verify=False` skips the checksums of code and weights. Raises `ArtifactError` if the file is damaged, of another
    format version, or not an artifact.
    """
    try:
        with open(path, "rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with zipfile.ZipFile(file) as archive:
                members = {
                    name: _member(archive, mapping, name) for name in ("manifest.json", "code.bin", "weights.bin")
                }
        manifest, crc = members["manifest.json"]
        _intact(manifest, crc, "manifest")
        document = json.loads(bytes(manifest))
        return _program(document, members["code.bin"][0], members["weights.bin"][0], verify=verify)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ArtifactError("The artifact cannot be opened.", where=str(path), got=error.strerror) from error
    except ArtifactError as error:
        raise ArtifactError(
            error.what, where=str(path), expected=error.expected, got=error.got, next_step=error.next_step
        ) from error
    except Exception as error:  # zipfile, json and struct raise a dozen kinds of errors on damaged input
        raise ArtifactError(
            "The file is not a readable sparsec artifact; it is damaged, truncated or something else.",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
            next_step="compile the model again",
        ) from error


def _member(archive: zipfile.ZipFile, mapping: mmap.mmap, name: str) -> tuple[NDArray[np.uint8], int]:
    """Return the bytes of a stored member inside the mapping, and its CRC-32 from the zip directory."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
        raise ArtifactError(f"The member {name} is compressed or encrypted and cannot be mapped.")
    signature, name_bytes, extra_bytes = struct.unpack_from("<4s22xHH", mapping, info.header_offset)
    start = info.header_offset + 30 + name_bytes + extra_bytes
    if signature != b"PK\x03\x04" or start + info.file_size > len(mapping) or start % PAGE:
        raise ArtifactError(f"The member {name} is not where the directory of the file says.")
    return np.frombuffer(mapping, np.uint8, info.file_size, start), info.CRC


def _intact(data: NDArray[np.uint8], crc: int, what: str) -> None:
    found = zlib.crc32(data.data)
    if found != crc:
        raise ArtifactError(
            f"The {what} of the artifact is damaged: its checksum does not match.",
            expected=f"crc32 {crc:08x}",
            got=f"crc32 {found:08x}",
            next_step="copy the file again, or compile the model again",
        )


def _program(document: object, code: NDArray[np.uint8], weights: NDArray[np.uint8], *, verify: bool) -> Program:
    manifest = _object(document, "manifest")
    if manifest.get("format") != "sparsec":
        raise ArtifactError("The file is a zip, but not a sparsec artifact.")
    version = manifest.get("format_version")
    if version not in _READABLE_VERSIONS:
        raise ArtifactError(
            "The artifact has another format version than this sparsec reads.",
            expected=" or ".join(map(str, _READABLE_VERSIONS)),
            got=f"{version} (written by sparsec {manifest.get('sparsec_version')})",
            next_step="compile the model again with this version",
        )
    code_facts, weight_facts = _object(manifest["code"], "code"), _object(manifest["weights"], "weights")
    for facts, data, what in ((code_facts, code, "code"), (weight_facts, weights, "weights")):
        if _int(facts["bytes"]) != data.nbytes:
            raise ArtifactError(f"The {what} of the artifact has the wrong size.", got=f"{data.nbytes} bytes")
        if verify:
            _intact(data, _int(facts["crc32"]), what)
    target = _object(manifest["target"], "target")
    program = Program(
        name=_str(manifest["name"]),
        target=TargetSpec(
            _str(target["triple"]), _str(target["isa"]), tuple(_str(item) for item in _list(target["features"]))
        ),
        inputs=tuple(_tensor(item) for item in _list(manifest["inputs"])),
        outputs=tuple(_tensor(item) for item in _list(manifest["outputs"])),
        arena_bytes=_int(manifest["arena_bytes"]),
        steps=tuple(_step(item) for item in _list(manifest["steps"])),
        code=CodeImage(
            image=code.tobytes(),
            writable_offset=_int(code_facts["writable_offset"]),
            entries={name: _int(value) for name, value in _object(code_facts["entries"], "entries").items()},
            imports={name: _int(value) for name, value in _object(code_facts["imports"], "imports").items()},
        ),
        weights=weights,
        report=_object(manifest["report"], "report"),
        status=None if manifest["status"] is None else _int(manifest["status"]),
        complaints=tuple(_complaint(item) for item in _list(manifest["complaints"])),
        pieces=tuple(_piece(item) for item in _list(weight_facts["pieces"])) if version == FORMAT_VERSION else (),
    )
    check(program)
    return program


def _tensor(value: JsonValue) -> TensorSpec:
    facts = _object(value, "tensor")
    return TensorSpec(_str(facts["name"]), _str(facts["dtype"]), tuple(_int(dim) for dim in _list(facts["shape"])))


def _step(value: JsonValue) -> Step:
    facts = _object(value, "step")
    args = tuple(_buffer(item) for item in _list(facts["args"]))
    return Step(_str(facts["kernel"]), args, _int(facts["extent"]), _int(facts["grain"]), _str(facts["layer"]))


def _complaint(value: JsonValue) -> Complaint:
    where, what = _list(value)
    return Complaint(_str(where), _str(what))


def _piece(value: JsonValue) -> Piece:
    size, stored_as = _list(value)
    for half, name in _STORED_AS.items():
        if stored_as == name:
            return Piece(_int(size), half)
    raise ArtifactError(
        "The weights are stored in a way that this sparsec does not know.",
        expected=" or ".join(_STORED_AS.values()),
        got=str(stored_as),
        next_step="read it with the sparsec version that wrote it, or compile the model again",
    )


def _buffer(value: JsonValue) -> Buffer:
    space, position = _list(value)
    return Buffer(Space(space), _int(position))


def _object(value: object, what: str) -> JsonObject:
    if not isinstance(value, dict):
        raise TypeError(f"{what} is not an object")
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def _int(value: JsonValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not an integer")
    return value


def _str(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value
