"""Constants in every form that the newer LLVM prints come out of the older one with the same bits."""

from __future__ import annotations

import random
import struct

import llvmlite.binding as llvm
import pytest
from torch_mlir import ir
from torch_mlir.dialects import llvm as mlir_llvm

from sparsec.errors import ToolchainError
from sparsec.targets.llvm_text import for_older_parser

# MLIR type, LLVM type, bits, bits of the mantissa
FORMATS = [("f16", "half", 16, 10), ("bf16", "bfloat", 16, 7), ("f32", "float", 32, 23), ("f64", "double", 64, 52)]


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("%1 = fadd float f0x40878000, %0", "%1 = fadd float 0x4010F00000000000, %0"),
        ("%1 = fadd float %0, f0x40878000", "%1 = fadd float %0, 0x4010F00000000000"),
        ("ret float -8.733650e+01", "ret float 0xC055D58940000000"),
        ("ret float 1.000000e+00", "ret float 1.000000e+00"),
        ("ret double 1.000000e-01", "ret double 1.000000e-01"),
        ("ret double f0x3FB999999999999A", "ret double 0x3FB999999999999A"),
        ("ret float +inf", "ret float 0x7FF0000000000000"),
        ("ret float -inf", "ret float 0xFFF0000000000000"),
        ("ret float +qnan", "ret float 0x7FF8000000000000"),
        ("ret float -nan(0x1)", "ret float 0xFFF8000020000000"),
        ("ret float +snan(0x1)", "ret float 0x7FF0000020000000"),
        ("ret double -qnan", "ret double 0xFFF8000000000000"),
        ("ret half 9.997550e-02", "ret half 0xH2E66"),
        ("ret half f0x2E66", "ret half 0xH2E66"),
        ("ret half -inf", "ret half 0xHFC00"),
        ("ret bfloat 1.000980e-01", "ret bfloat 0xR3DCD"),
        ("ret bfloat +nan(0x1)", "ret bfloat 0xR7FC1"),
        ("store <2 x half> splat (half -inf), ptr %0", "store <2 x half> splat (half 0xHFC00), ptr %0"),
        ("%2 = select i1 %1, float -inf, double 0.1", "%2 = select i1 %1, float 0xFFF0000000000000, double 0.1"),
        ("%2 = phi float [ -inf, %1.5 ]", "%2 = phi float [ 0xFFF0000000000000, %1.5 ]"),
        ('@"float -inf" = constant float -inf', '@"float -inf" = constant float 0xFFF0000000000000'),
        ('@a = constant [4 x i8] c"+inf"', '@a = constant [4 x i8] c"+inf"'),
        ("; float -inf", "; float -inf"),
        ("%x.1.5 = add i64 %y.1.5, 1", "%x.1.5 = add i64 %y.1.5, 1"),
        ("attributes #0 = { noipa nofree }", "attributes #0 = { nofree }"),
    ],
)
def test_each_form(newer: str, older: str) -> None:
    assert for_older_parser(newer) == older


def test_a_constant_without_a_type_is_refused() -> None:
    with pytest.raises(ToolchainError, match="has no type"):
        for_older_parser("ret f0x40878000")


def _samples(bits: int, mantissa: int) -> list[int]:
    """Zeros, subnormals, infinities, quiet and signalling NaNs, round decimals, random patterns."""
    infinity = ((1 << (bits - 1 - mantissa)) - 1) << mantissa
    special = [
        0,
        1,
        infinity,
        infinity - 1,
        infinity | 1 << (mantissa - 1),
        infinity | 1,
        infinity | 1 << (mantissa - 1) | 1,
    ]
    if bits == 32:
        special += [
            struct.unpack("<I", struct.pack("<f", value))[0] for value in (0.1, 1.0, 0.5, 1e10, 3.0e-5, -87.3365)
        ]
    if bits == 64:
        special += [
            struct.unpack("<Q", struct.pack("<d", value))[0] for value in (0.1, 1.0, 0.5, 1e10, 3.0e-5, -87.3365)
        ]
    generator = random.Random(bits + mantissa)
    patterns = special + [generator.getrandbits(bits) for _ in range(300)]
    return patterns + [pattern ^ 1 << (bits - 1) for pattern in patterns]


def _module_text(mlir_type: str, bits: int, patterns: list[int]) -> str:
    """A function that stores every pattern as a scalar, a splat, a vector and in a constant array, as LLVM text."""
    digits = bits // 4
    texts = [f"0x{pattern:0{digits}X}" for pattern in patterns]
    body = []
    for index, text in enumerate(texts):
        body.append(f"%c{index} = llvm.mlir.constant({text} : {mlir_type}) : {mlir_type}")
        body.append(f"llvm.store %c{index}, %a : {mlir_type}, !llvm.ptr")
        body.append(f"%v{index} = llvm.mlir.constant(dense<{text}> : vector<4x{mlir_type}>) : vector<4x{mlir_type}>")
        body.append(f"llvm.store %v{index}, %a : vector<4x{mlir_type}>, !llvm.ptr")
    array = f"dense<[{', '.join(texts)}]> : tensor<{len(texts)}x{mlir_type}>"
    source = f"""
      llvm.mlir.global constant @table({array}) : !llvm.array<{len(texts)} x {mlir_type}>
      llvm.func @f(%a: !llvm.ptr) {{
        {chr(10).join(body)}
        llvm.return
      }}"""
    with ir.Context():
        text = mlir_llvm.translate_module_to_llvmir(ir.Module.parse(source).operation)
    assert isinstance(text, str)
    return text


def _bits_of(constant: str, llvm_type: str) -> int:
    """The bits of a constant as LLVM 22 prints it."""
    if constant.startswith(("0xH", "0xR")):
        return int(constant[3:], 16)
    wide = (
        int(constant, 16) if constant.startswith("0x") else struct.unpack("<Q", struct.pack("<d", float(constant)))[0]
    )
    if llvm_type == "double":
        return wide
    if wide & 0x7FF << 52 == 0x7FF << 52:
        return (wide >> 63) << 31 | 0xFF << 23 | (wide >> 29) & 0x7FFFFF
    value = struct.unpack("<d", struct.pack("<Q", wide))[0]
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    assert isinstance(bits, int)
    return bits


@pytest.mark.parametrize(("mlir_type", "llvm_type", "bits", "mantissa"), FORMATS)
def test_generated_constants_keep_their_bits(mlir_type: str, llvm_type: str, bits: int, mantissa: int) -> None:
    patterns = _samples(bits, mantissa)
    module = llvm.parse_assembly(for_older_parser(_module_text(mlir_type, bits, patterns)))
    stores = [str(each).split() for block in module.get_function("f").blocks for each in block.instructions]
    scalars = [words[2].rstrip(",") for words in stores if words[:2] == ["store", llvm_type]]
    assert [_bits_of(constant, llvm_type) for constant in scalars] == patterns
    vectors = [text for text in map(" ".join, stores) if text.startswith("store <4 x")]
    assert len(vectors) == len(patterns)
    table = str(module.get_global_variable("table")).split("[", 2)[2].rstrip("]").split(", ")
    assert [_bits_of(item.split()[1], llvm_type) for item in table] == patterns


MATH = ["exp", "log", "pow", "sin", "fabs", "roundeven", "maximum", "minnum", "fmuladd", "copysign", "fma"]


def test_modules_of_intrinsics_and_attributes_parse() -> None:
    """Declarations of intrinsics carry the attributes of the newer version."""
    counts = {"pow": 2, "maximum": 2, "minnum": 2, "copysign": 2, "fma": 3, "fmuladd": 3}
    lines = []
    for index, name in enumerate(MATH):
        count = counts.get(name, 1)
        operands, types = ", ".join(["%x"] * count), ", ".join(["vector<8xf32>"] * count)
        lines.append(f"%r{index} = llvm.intr.{name}({operands}) : ({types}) -> vector<8xf32>")
        lines.append(f"llvm.store %r{index}, %a : vector<8xf32>, !llvm.ptr")
    mask = "%m: vector<8xi1>"
    source = f"""llvm.func @f(%a: !llvm.ptr {{llvm.noalias, llvm.nonnull}}, %x: vector<8xf32>, {mask}) {{
        {chr(10).join(lines)}
        %n = llvm.mlir.constant(8 : i64) : i64
        %z = llvm.mlir.constant(-87.3365 : f32) : f32
        %l = llvm.intr.masked.load %a, %m, %x {{alignment = 4 : i32}} :
          (!llvm.ptr, vector<8xi1>, vector<8xf32>) -> vector<8xf32>
        %s = "llvm.intr.vector.reduce.fadd"(%z, %l) <{{fastmathFlags = #llvm.fastmath<reassoc>}}> :
          (f32, vector<8xf32>) -> f32
        llvm.store %s, %a : f32, !llvm.ptr
        "llvm.intr.memset"(%a, %b, %n) <{{isVolatile = false}}> : (!llvm.ptr, i8, i64) -> ()
        llvm.return
      }}""".replace("%n = ", "%b = llvm.mlir.constant(0 : i8) : i8\n        %n = ")
    with ir.Context():
        text = mlir_llvm.translate_module_to_llvmir(ir.Module.parse(source).operation)
    assert isinstance(text, str)
    llvm.parse_assembly(for_older_parser(text)).verify()
