"""The container of a `.sparsec` file: a plain zip whose members are stored, not compressed, and start on page boundaries.

So the runtime can map them, and standard tools can list, test and unpack them. Each member has a CRC-32 in the zip's
directory.
"""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact.program import PAGE
from sparsec.errors import ArtifactError
from sparsec.whole_file import whole_file

_ZIP64_BYTES = 2**31  # members from here on get 64-bit sizes


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """Bytes in the mapped file (read-only, paged in on use), and their CRC-32 from the zip's directory."""

    data: NDArray[np.uint8]
    crc32: int


Content: TypeAlias = memoryview | list[memoryview]
"""Of a member: bytes, or parts behind each other."""


def parts_of(content: Content) -> list[memoryview]:
    """The parts, or the only one."""
    return content if isinstance(content, list) else [content]


def write_members(path: Path, members: Mapping[str, Content]) -> None:
    """Write a file with these members, in their order, whole or not at all."""
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            _add(archive, name, parts_of(content))


def _add(archive: zipfile.ZipFile, name: str, parts: list[memoryview]) -> None:
    """Append a stored member that starts at a page boundary, padded by the extra field that Android's zipalign uses."""
    assert archive.fp is not None
    zip64 = sum(part.nbytes for part in parts) >= _ZIP64_BYTES
    header = archive.fp.tell() + 30 + len(name) + (20 if zip64 else 0) + 6
    padding = -header % PAGE
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    info.extra = struct.pack("<HHH", 0xD935, 2 + padding, PAGE) + bytes(padding)
    with archive.open(info, "w", force_zip64=zip64) as member:
        for part in parts:
            member.write(part)


def read_members(path: str | os.PathLike[str]) -> dict[str, Member]:
    """Map all members of the file; the sums of their bytes are not checked. Raises what `zipfile` and `struct` raise, too."""
    with open(path, "rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with zipfile.ZipFile(file) as archive:
            return {info.filename: _member(info, mapping) for info in archive.infolist()}


def check_intact(data: NDArray[np.uint8], crc32: int, what: str) -> None:
    """Raise `ArtifactError` unless the bytes have this CRC-32."""
    found = zlib.crc32(data.data)
    if found != crc32:
        raise ArtifactError(
            f"The {what} of the artifact is damaged: its checksum does not match.",
            expected=f"crc32 {crc32:08x}",
            got=f"crc32 {found:08x}",
            next_step="copy the file again, or compile the model again",
        )


def _member(info: zipfile.ZipInfo, mapping: mmap.mmap) -> Member:
    name = info.filename
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
        raise ArtifactError(f"The member {name} is compressed or encrypted and cannot be mapped.")
    signature, name_bytes, extra_bytes = struct.unpack_from("<4s22xHH", mapping, info.header_offset)
    start = info.header_offset + 30 + name_bytes + extra_bytes
    if signature != b"PK\x03\x04" or start + info.file_size > len(mapping) or start % PAGE:
        raise ArtifactError(f"The member {name} is not where the directory of the file says.")
    return Member(np.frombuffer(mapping, np.uint8, info.file_size, start), info.CRC)
