"""LLVM IR text as the bindings of torch-mlir print it (LLVM 24), rewritten for the older parser of llvmlite (LLVM 22).

The newer printer writes every floating-point constant in ways the older parser refuses:

    newer                                  older
    float f0x40878000                      float 0x4010F00000000000      the binary32 value, widened to binary64
    float -8.733650e+01                    float 0xC055D58940000000      a decimal must be exact in its type
    half 9.997550e-02 | half f0x2E66       half 0xH2E66
    bfloat -inf                            bfloat 0xRFF80
    double +qnan, +nan(0x1), +snan(0x1)    double 0x7FF8000000000000, …

A constant has the type that stands nearest to its left: operands without a type of their own share the one of the
instruction.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from sparsec.errors import ToolchainError

# Attributes that the older parser does not know; all are only permissions to optimise or notes for tools.
_NEWER_ATTRIBUTES = ("noipa",)

_CANDIDATE = re.compile(r"f0x|[+-](?:inf|qnan|s?nan\()|\d\.\d|^attributes ")
_TOKEN = re.compile(
    r"""
      "[^"]*" | ;.* | [%@!\#$][-\w$.]+                 # strings, comments and names: passed over
    | \b(?P<type>half|bfloat|float|double)\b
    | \bf0x(?P<bits>[0-9A-Fa-f]+)\b
    | (?P<sign>[+-])(?P<special>inf|qnan|s?nan\(0x(?P<payload>[0-9A-Fa-f]+)\))
    | (?<![\w.])(?P<decimal>[+-]?\d+\.\d*(?:[eE][+-]?\d+)?)(?![\w.])
    """,
    re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"(?<![-\w\"])(?:" + "|".join(_NEWER_ATTRIBUTES) + r")(?![-\w\"=(])\s?")


@dataclass(frozen=True, slots=True)
class _Format:
    """A binary floating-point format, and how the older text writes its bits."""

    total: int
    mantissa: int
    prefix: str
    digits: int

    @property
    def infinity(self) -> int:
        return ((1 << (self.total - 1 - self.mantissa)) - 1) << self.mantissa

    @property
    def quiet(self) -> int:
        return 1 << (self.mantissa - 1)


_FORMATS = {
    "half": _Format(16, 10, "0xH", 4),
    "bfloat": _Format(16, 7, "0xR", 4),
    "float": _Format(32, 23, "0x", 16),
    "double": _Format(64, 52, "0x", 16),
}


def for_older_parser(text: str) -> str:
    """Return `text` with constants and attributes as LLVM 22 parses them to the same bits. Raises `ToolchainError`."""
    return "\n".join(_line(line) if _CANDIDATE.search(line) else line for line in text.split("\n"))


def _line(line: str) -> str:
    if line.startswith("attributes "):
        return _ATTRIBUTE.sub("", line)
    current = ""

    def replace(match: re.Match[str]) -> str:
        nonlocal current
        if match["type"]:
            current = match["type"]
        if match.lastgroup is None or match["type"]:
            return match[0]
        if not current:
            raise ToolchainError("A constant in the LLVM text has no type.", where=line.strip(), got=match[0])
        return _older(match, current)

    return _TOKEN.sub(replace, line)


def _older(match: re.Match[str], kind: str) -> str:
    form = _FORMATS[kind]
    if match["decimal"]:
        if _is_exact(match["decimal"], kind):
            return match[0]
        bits = _nearest(float(match["decimal"]), kind)
    elif match["bits"]:
        bits = int(match["bits"], 16)
    else:
        bits = _special(match, form)
    if kind == "float":
        bits = _widen(bits)
    return f"{form.prefix}{bits:0{form.digits}X}"


def _special(match: re.Match[str], form: _Format) -> int:
    sign = (match["sign"] == "-") << (form.total - 1)
    match match["special"][:3]:
        case "inf":
            return sign | form.infinity
        case "qna":
            return sign | form.infinity | form.quiet
        case "nan":
            return sign | form.infinity | form.quiet | int(match["payload"], 16)
        case _:
            return sign | form.infinity | int(match["payload"], 16)


def _is_exact(decimal: str, kind: str) -> bool:
    """Tell whether the older parser takes the decimal as it is: always for double, for float if nothing is lost."""
    if kind == "double":
        return True
    value = float(decimal)
    return kind == "float" and struct.unpack("<f", struct.pack("<f", value))[0] == value


def _nearest(value: float, kind: str) -> int:
    """Return the bits of the number of type `kind` that is nearest to `value`, ties to even."""
    if kind == "bfloat":
        (single,) = struct.unpack("<I", struct.pack("<f", value))
        return int(single + 0x7FFF + (single >> 16 & 1)) >> 16
    code, integer = {"half": ("<e", "<H"), "float": ("<f", "<I"), "double": ("<d", "<Q")}[kind]
    return int(struct.unpack(integer, struct.pack(code, value))[0])


def _widen(single: int) -> int:
    """Return the bits of a binary32 as those of the equal binary64; of a NaN, with the same payload and quietness."""
    if single & 0x7F800000 == 0x7F800000:
        return (single >> 31) << 63 | 0x7FF << 52 | (single & 0x7FFFFF) << 29
    (value,) = struct.unpack("<f", struct.pack("<I", single))
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])
