"""Functions that LLVM calls because WebAssembly has no instruction for them: their code, as LLVM IR, by their C names.

All are exact or rounded once, as in C; conversions of half precision round to nearest, ties to even. What is not here
is one of JavaScript's `Math`, which the page supplies (`FROM_HOST`), or is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sparsec.errors import UnsupportedOpError

_TRIGONOMETRIC = ("acos", "asin", "atan", "atan2", "cos", "sin", "tan")
_HYPERBOLIC = ("acosh", "asinh", "atanh", "cosh", "sinh", "tanh")
_POWERS = ("cbrt", "exp", "exp10", "exp2", "expm1", "hypot", "log", "log10", "log1p", "log2", "pow")
_OF_HOST = (*_TRIGONOMETRIC, *_HYPERBOLIC, *_POWERS, "fmod")
# What the module may import from `math`; runtime/web/model.mjs supplies it.
FROM_HOST = frozenset(name + suffix for name in _OF_HOST for suffix in ("", "f"))


def code(names: Iterable[str]) -> str:
    """LLVM IR of those of `names` that have code here; raises `UnsupportedOpError` for those that exist nowhere."""
    wanted = sorted(set(names) - FROM_HOST)
    unknown = [name for name in wanted if name not in _CODE]
    if unknown:
        raise UnsupportedOpError(
            "WebAssembly has neither an instruction nor a library for a function that the network needs",
            got=", ".join(unknown),
            next_step="compute that part of the network outside, or in float32",
        )
    return "\n".join(_CODE[name] for name in wanted)


def _larger(name: str, kind: str, comparison: str) -> str:
    """The other number where one is NaN."""
    return f"""
define {kind} @{name}({kind} %a, {kind} %b) {{
  %alone = fcmp uno {kind} %b, %b
  %first = fcmp {comparison} {kind} %a, %b
  %take = or i1 %alone, %first
  %result = select i1 %take, {kind} %a, {kind} %b
  ret {kind} %result
}}"""


def _rounded(name: str, kind: str, suffix: str) -> str:
    """To the nearest whole number, halves away from zero."""
    return f"""
declare {kind} @llvm.trunc.{suffix}({kind})
declare {kind} @llvm.fabs.{suffix}({kind})
declare {kind} @llvm.copysign.{suffix}({kind}, {kind})
define {kind} @{name}({kind} %x) {{
  %whole = call {kind} @llvm.trunc.{suffix}({kind} %x)
  %rest = fsub {kind} %x, %whole
  %size = call {kind} @llvm.fabs.{suffix}({kind} %rest)
  %up = fcmp oge {kind} %size, 0.5
  %one = select i1 %up, {kind} 1.0, {kind} 0.0
  %step = call {kind} @llvm.copysign.{suffix}({kind} %one, {kind} %x)
  %sum = fadd {kind} %whole, %step
  %result = call {kind} @llvm.copysign.{suffix}({kind} %sum, {kind} %x)
  ret {kind} %result
}}"""


def _power(name: str, kind: str) -> str:
    """By repeated squaring, in double precision."""
    widen = "%wide = fpext float %base to double" if kind == "float" else "%wide = fadd double %base, 0.0"
    narrow = "%narrow = fptrunc double %value to float" if kind == "float" else "%narrow = fadd double %value, 0.0"
    return f"""
define {kind} @{name}({kind} %base, i32 %exponent) {{
start:
  {widen}
  %negative = icmp slt i32 %exponent, 0
  %minus = sub i32 0, %exponent
  %n = select i1 %negative, i32 %minus, i32 %exponent
  br label %head
head:
  %left = phi i32 [ %n, %start ], [ %half, %body ]
  %square = phi double [ %wide, %start ], [ %next, %body ]
  %product = phi double [ 1.0, %start ], [ %taken, %body ]
  %more = icmp ne i32 %left, 0
  br i1 %more, label %body, label %end
body:
  %odd = trunc i32 %left to i1
  %multiplied = fmul double %product, %square
  %taken = select i1 %odd, double %multiplied, double %product
  %next = fmul double %square, %square
  %half = lshr i32 %left, 1
  br label %head
end:
  %inverse = fdiv double 1.0, %product
  %value = select i1 %negative, double %inverse, double %product
  {narrow}
  ret {kind} %narrow
}}"""


# In double precision, where the product is exact; if the sum lies between two floats, its error says to which side.
_FMAF = """
define float @fmaf(float %x, float %y, float %z) {
  %a = fpext float %x to double
  %b = fpext float %y to double
  %c = fpext float %z to double
  %product = fmul double %a, %b
  %sum = fadd double %product, %c
  %bits = bitcast double %sum to i64
  %tail = and i64 %bits, 536870911
  %tie = icmp eq i64 %tail, 268435456
  %less_product = fsub double %sum, %product
  %less_c = fsub double %sum, %c
  %same_c = fcmp oeq double %less_product, %c
  %same_product = fcmp oeq double %less_c, %product
  %exact = and i1 %same_c, %same_product
  %finite = fcmp ord double %less_product, %less_product
  %inexact = xor i1 %exact, true
  %doubtful = and i1 %tie, %inexact
  %repair = and i1 %doubtful, %finite
  %negative = icmp slt i64 %bits, 0
  %c_larger = fcmp ogt double %c, %product
  %product_first = icmp eq i1 %negative, %c_larger
  %one = select i1 %product_first, double %product, double %c
  %other = select i1 %product_first, double %c, double %product
  %without = fsub double %one, %sum
  %error = fadd double %without, %other
  %below = fcmp olt double %error, 0.0
  %outward = icmp eq i1 %negative, %below
  %step = select i1 %outward, i64 1, i64 -1
  %moved = add i64 %bits, %step
  %chosen = select i1 %repair, i64 %moved, i64 %bits
  %value = bitcast i64 %chosen to double
  %result = fptrunc double %value to float
  ret float %result
}"""

_WIDEN_HALF = """
define float @__extendhfsf2(i16 %half) {
  %bits = zext i16 %half to i32
  %signed = and i32 %bits, 32768
  %sign = shl i32 %signed, 16
  %size = and i32 %bits, 32767
  %shifted = shl i32 %size, 13
  %small = bitcast i32 %shifted to float
  %scaled = fmul float %small, 0x46F0000000000000
  %finite = bitcast float %scaled to i32
  %special = icmp uge i32 %size, 31744
  %infinite = or i32 %shifted, 2139095040
  %nan = icmp ugt i32 %size, 31744
  %quiet = select i1 %nan, i32 4194304, i32 0
  %limit = or i32 %infinite, %quiet
  %magnitude = select i1 %special, i32 %limit, i32 %finite
  %both = or i32 %magnitude, %sign
  %result = bitcast i32 %both to float
  ret float %result
}"""

# Normal numbers round by adding; subnormal ones by adding the number whose last place is theirs.
_NARROW_HALF = """
define i16 @__truncsfhf2(float %x) {
  %bits = bitcast float %x to i32
  %signed = lshr i32 %bits, 16
  %sign = and i32 %signed, 32768
  %size = and i32 %bits, 2147483647
  %nan = icmp ugt i32 %size, 2139095040
  %limit = select i1 %nan, i32 32256, i32 31744
  %positive = bitcast i32 %size to float
  %magic = fadd float %positive, 5.000000e-01
  %place = bitcast float %magic to i32
  %subnormal = sub i32 %place, 1056964608
  %last = lshr i32 %size, 13
  %odd = and i32 %last, 1
  %biased = add i32 %size, 3355447295
  %ties = add i32 %biased, %odd
  %normal = lshr i32 %ties, 13
  %small = icmp ult i32 %size, 947912704
  %finite = select i1 %small, i32 %subnormal, i32 %normal
  %large = icmp uge i32 %size, 1199570944
  %magnitude = select i1 %large, i32 %limit, i32 %finite
  %both = or i32 %magnitude, %sign
  %result = trunc i32 %both to i16
  ret i16 %result
}"""

_CODE: Mapping[str, str] = {
    "fmaxf": _larger("fmaxf", "float", "oge"),
    "fmax": _larger("fmax", "double", "oge"),
    "fminf": _larger("fminf", "float", "ole"),
    "fmin": _larger("fmin", "double", "ole"),
    "fmaf": _FMAF,
    "roundf": _rounded("roundf", "float", "f32"),
    "round": _rounded("round", "double", "f64"),
    "__powisf2": _power("__powisf2", "float"),
    "__powidf2": _power("__powidf2", "double"),
    "__extendhfsf2": _WIDEN_HALF,
    "__truncsfhf2": _NARROW_HALF,
}
