"""expand_math: text, accuracy against float64, special values, and what it leaves alone."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np
import pytest
import scipy.special
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects.llvm import translate_module_to_llvmir
from torch_mlir.passmanager import PassManager

from sparsec.kernels.words import ROUNDS
from sparsec.passes.expand_math import FUNCTIONS, expand_math
from sparsec.passes.math import lookup
from sparsec.targets.llvm_text import for_older_parser

Array = NDArray[np.floating]
LOWER = (
    "builtin.module(canonicalize,cse,convert-scf-to-cf,convert-math-to-llvm,convert-math-to-libm,convert-vector-to-llvm,"
    "finalize-memref-to-llvm,convert-func-to-llvm{use-bare-ptr-memref-call-conv=1},convert-arith-to-llvm,convert-index-to-llvm,"
    "convert-cf-to-llvm,reconcile-unrealized-casts,canonicalize,cse)"
)
BINARY = ("math.atan2", "math.powf")
REFERENCE: dict[str, Callable[..., Array]] = {
    "math.acos": np.arccos,
    "math.acosh": np.arccosh,
    "math.asin": np.arcsin,
    "math.asinh": np.arcsinh,
    "math.atan": np.arctan,
    "math.atan2": np.arctan2,
    "math.atanh": np.arctanh,
    "math.cbrt": np.cbrt,
    "math.cos": np.cos,
    "math.cosh": np.cosh,
    "math.erf": scipy.special.erf,
    "math.exp": np.exp,
    "math.exp2": np.exp2,
    "math.expm1": np.expm1,
    "math.log": np.log,
    "math.log10": np.log10,
    "math.log1p": np.log1p,
    "math.log2": np.log2,
    "math.powf": np.power,
    "math.rsqrt": lambda x: 1 / np.sqrt(x),
    "math.sin": np.sin,
    "math.sinh": np.sinh,
    "math.tan": np.tan,
    "math.tanh": np.tanh,
}
SPECIAL = np.array(
    [0.0, np.inf, np.nan, 1.0, 2.0, 3.0, 0.5, 1.5, 2.0**-149, 2.0**-127, 2.0**-126, 2.0**127, 3.4028235e38]
    + [
        0.99999994,
        1.0000001,
        87.4,
        88.72283,
        88.72284,
        89.5,
        103.97,
        103.98,
        127.99999,
        128.0,
        149.0,
        149.5,
        150.0,
        151.0,
    ]
    + [0.625, 0.92773, 3.9192059, 4.0, 9.01, 17.32868, 1e4, 8388608.0, 16777216.0, 16777217.0, 1e10, 1e30]
    + [k * np.pi / 4 for k in range(1, 9)],
    np.float32,
)
llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


def loop(body: str, *, arguments: int = 1, element: str = "f32", lanes: int = 0) -> str:
    """A function that sets out[i] = %r, computed by `body` from %x0, %x1, in steps of one element or one vector."""
    value, memref = f"vector<{lanes}x{element}>" if lanes else element, f"memref<1073741824x{element}>"
    parameters = "".join(f"%a{k}: {memref}, " for k in range(arguments))
    access, suffix = ("vector.", f"{memref}, {value}") if lanes else ("memref.", memref)
    loads = "\n".join(f"%x{k} = {access}load %a{k}[%i] : {suffix}" for k in range(arguments))
    return f"""
      func.func @f({parameters}%out: {memref} {{llvm.noalias}}, %n: index) {{
        %begin = arith.constant 0 : index
        %step = arith.constant {lanes or 1} : index
        scf.for %i = %begin to %n step %step {{
          {loads}
          {body}
          {access}store %r, %out[%i] : {suffix}
        }}
        return
      }}"""


def expanded(source: str, *, looks_up: bool = False) -> str:
    """The text of a module after the pass."""
    with ir.Context() as context, ir.Location.unknown():
        context.load_all_available_dialects()
        module = ir.Module.parse(source)
        expand_math(module, looks_up=looks_up)
        assert module.operation.verify()
        return str(module)


def optimised(
    source: str, cpu: str, features: str, *, looks_up: bool = False
) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """The module expanded, lowered and optimised for one processor."""
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse(expanded(source, looks_up=looks_up))
        PassManager.parse(LOWER).run(module.operation)
        parsed = llvm.parse_assembly(for_older_parser(translate_module_to_llvmir(module.operation)))
    machine = llvm.Target.from_triple("x86_64-unknown-linux-gnu" if cpu != "host" else llvm.get_process_triple())
    target = machine.create_target_machine(
        cpu=llvm.get_host_cpu_name() if cpu == "host" else cpu, features=features, opt=3
    )
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(parsed, builder)
    return parsed, target


def run(source: str, *arrays: Array, looks_up: bool = False) -> Array:
    """`f` on `arrays`, on this machine."""
    module, target = optimised(source, "host", llvm.get_host_cpu_features().flatten(), looks_up=looks_up)
    out = np.empty_like(arrays[0])
    with llvm.create_mcjit_compiler(module, target) as engine:
        engine.finalize_object()
        pointers = [array.ctypes.data for array in (*arrays, out)]
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(pointers), ctypes.c_int64)(
            engine.get_function_address("f")
        )
        function(*pointers, out.size)
    return out


def numbers(name: str) -> list[Array]:
    """Arguments: all of SPECIAL (all pairs for two), 2**20 random bit patterns, and as many of moderate size."""
    rng = np.random.default_rng(7)
    special = np.concatenate([SPECIAL, -SPECIAL])

    def spread() -> Array:
        bits = rng.integers(0, 1 << 32, 1 << 20, dtype=np.uint32).view(np.float32)
        scales = rng.choice(np.array([1e-4, 0.1, 1, 3, 10, 50, 1e4], np.float32), 1 << 20)
        return np.concatenate([bits, rng.standard_normal(1 << 20, np.float32) * scales])

    if name not in BINARY:
        return [np.concatenate([np.resize(special, 96), spread()])]
    pairs = np.array(np.meshgrid(special, special)).reshape(2, -1)
    pairs = pairs[:, : pairs.shape[1] // 16 * 16]
    second = np.concatenate([pairs[1], spread()])
    second[-4096:] = rng.integers(-9, 10, 4096)
    return [np.concatenate([pairs[0], spread()]), second]


def worst_error(result: Array, exact: Array) -> float:
    """The largest error in units of the last place of f32; infinite where infinity, NaN or the sign of zero differs."""
    expected = exact.astype(np.float32)
    unit = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(exact), 2.0**-126))) - 23)
    error = np.abs(result.astype(np.float64) - exact) / unit
    exceptional = ~np.isfinite(expected) | ~np.isfinite(result)
    agrees = (result == expected) | (np.isnan(result) & np.isnan(expected))
    error[exceptional] = np.where(agrees[exceptional], 0.0, np.inf)
    error[(exact == 0) & (np.signbit(result) != np.signbit(exact))] = np.inf
    return float(error.max())


def test_example_of_the_docstring() -> None:
    text = expanded("func.func @f(%x: f32) -> f32 { %r = math.rsqrt %x : f32 return %r : f32 }")
    assert [line.strip() for line in text.splitlines()[2:5]] == [
        "%cst = arith.constant 1.000000e+00 : f32",
        "%0 = math.sqrt %arg0 fastmath<contract> : f32",
        "%1 = arith.divf %cst, %0 fastmath<contract> : f32",
    ]


@pytest.mark.parametrize("lanes", [0, 16])
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_within_two_ulp(name: str, lanes: int) -> None:
    arguments = numbers(name)
    operands = ", ".join(f"%x{k}" for k in range(len(arguments)))
    kind = f"vector<{lanes}xf32>" if lanes else "f32"
    result = run(loop(f"%r = {name} {operands} : {kind}", arguments=len(arguments), lanes=lanes), *arguments)
    assert worst_error(result, REFERENCE[name](*(array.astype(np.float64) for array in arguments))) <= 2.0


needs_tables = pytest.mark.skipif(
    not llvm.get_host_cpu_features().get("avx512f"), reason="this processor cannot hold tables in registers"
)


@pytest.mark.parametrize("looks_up", [False, pytest.param(True, marks=needs_tables)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_approximate_exp_flushes_small_results(*, looks_up: bool) -> None:
    x = np.concatenate([-np.abs(numbers("math.exp")[0]), np.zeros(16, np.float32)])
    kind, lanes = ("vector<16xf32>", 16) if looks_up else ("f32", 0)
    result = run(loop(f"%r = math.exp %x0 fastmath<afn> : {kind}", lanes=lanes), x, looks_up=looks_up)
    assert (result[x < -86.5] == 0).all()
    assert np.isnan(result[np.isnan(x)]).all()
    assert (result[x == 0] == 1).all()
    for least, ulps in ((-1, 2.0), (-20, 2.5), (-43, 3.5), (-86.5, 6.0)):
        covered = x >= least
        assert worst_error(result[covered], np.exp(x[covered].astype(np.float64))) <= ulps


@pytest.mark.skipif(not llvm.get_host_cpu_features().get("avx512bf16"), reason="this processor has no bfloat16")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_exp_that_is_rounded_to_bfloat16_is_little_more_exact() -> None:
    x = np.concatenate([-np.abs(numbers("math.exp")[0]), np.zeros(16, np.float32)])
    single, halves = "vector<16xf32>", "vector<32xbf16>"
    body = f"""%e = math.exp %x0 fastmath<afn> : {single}
        %h = llvm.call_intrinsic "llvm.x86.avx512bf16.{ROUNDS}.512"(%e, %e) : ({single}, {single}) -> {halves}
        %r = vector.bitcast %h : {halves} to {single}"""
    assert "1.66666" not in expanded(loop(body, lanes=16), looks_up=True)  # no cubic
    bits = run(loop(body, lanes=16), x, looks_up=True).view(np.uint16).reshape(-1, 2, 16)[:, 0].astype(np.uint32)
    result = (bits << 16).view(np.float32).reshape(-1)
    assert (result[x < -87] == 0).all()
    assert np.isnan(result[np.isnan(x)]).all()
    assert (result[x == 0] == 1).all()
    normal = x > -86
    np.testing.assert_allclose(result[normal], np.exp(x[normal].astype(np.float64)), rtol=2**-8 + 2**-11.9)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_approximate_erf_is_right_beside_one() -> None:
    x = numbers("math.erf")[0]
    result = run(loop("%r = math.erf %x0 fastmath<afn> : f32"), x).astype(np.float64)
    expected = REFERENCE["math.erf"](x.astype(np.float64))
    assert np.isnan(result[np.isnan(x)]).all()
    assert np.abs(result - expected)[~np.isnan(x)].max() <= 6e-7
    assert (np.abs(result[np.abs(x) > 4]) == 1).all()  # so that what is far below 0 stays 0 in GELU


@needs_tables
@pytest.mark.parametrize("name", sorted(lookup.FUNCTIONS))
@pytest.mark.parametrize("factor", [None, "mulf", "divf"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_function_that_is_looked_up_is_right_beside_one(name: str, factor: str | None) -> None:
    kind = "vector<16xf32>"
    scaled = f"%c = arith.constant dense<0.7071> : {kind} %s = arith.{factor} %x0, %c fastmath<arcp> : {kind}"
    body = f"{scaled if factor else ''} %r = {name} {'%s' if factor else '%x0'} fastmath<afn> : {kind}"
    x = numbers(name)[0]
    result = run(loop(body, lanes=16), x, looks_up=True).astype(np.float64)
    number = np.float64(np.float32(0.7071))
    argument = x * number if factor == "mulf" else x / number if factor == "divf" else x.astype(np.float64)
    assert np.isnan(result[np.isnan(x)]).all()
    assert np.abs(result - REFERENCE[name](argument))[~np.isnan(x)].max() <= 6e-7
    assert (np.abs(result[np.abs(argument) > 9]) == 1).all()
    assert (np.signbit(result) == np.signbit(x))[~np.isnan(x)].all()


@needs_tables
@pytest.mark.parametrize(
    "tail", ["", "%r = arith.mulf %p, %h", "%q = arith.mulf %p, %h %r = arith.divf %q, %d fastmath<arcp>"]
)
@pytest.mark.parametrize("name", sorted(lookup.FUNCTIONS))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_gate_takes_its_factors_in(name: str, tail: str) -> None:
    kind = "vector<16xf32>"
    constants = "".join(
        f"%{each} = arith.constant dense<{number}> : {kind} "
        for each, number in (("c", 0.7071), ("one", 1.0), ("h", 0.5), ("d", 0.03))
    )
    gate = f"%s = arith.mulf %x0, %c : {kind} %f = {name} %s fastmath<afn> : {kind} %a = arith.addf %f, %one : {kind}"
    product = f"%{'p' if tail else 'r'} = arith.mulf %x0, %a : {kind}"
    body = (
        f"{constants} {gate} {product} {''.join(f'{each} : {kind} ' for each in tail.replace(' %r', '|%r').split('|'))}"
    )
    body = body if tail else f"{constants} {gate} {product}"
    x = numbers(name)[0]
    x = np.where(np.abs(x) > 1e30, np.float32(0), x)
    text = expanded(loop(body, lanes=16), looks_up=True)
    assert text.count("arith.divf") == 0
    result = run(loop(body, lanes=16), x, looks_up=True).astype(np.float64)
    factor = (0.5 if tail else 1.0) / (float(np.float32(0.03)) if "divf" in tail else 1.0)
    wide = x.astype(np.float64)
    expected = factor * wide * (1 + REFERENCE[name](wide * np.float64(np.float32(0.7071))))
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    known = ~np.isnan(expected)
    assert (np.abs(result - expected)[known] <= 8e-7 * factor * np.abs(wide[known]) + 1e-37).all()


@needs_tables
@pytest.mark.parametrize("divisor", [0.5, 0.03, 0.002])
@pytest.mark.parametrize("name", sorted(lookup.FUNCTIONS))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_gate_of_which_codes_are_made_is_as_exact_as_they_need(name: str, divisor: float) -> None:
    kind, flags = "vector<16xf32>", "vector<16xi1>"
    constants = "".join(
        f"%{each} = arith.constant dense<{number}> : {kind} "
        for each, number in (("c", 0.7071), ("one", 1.0), ("h", 0.5), ("d", divisor), ("low", -3.0), ("high", 252.0))
    )
    body = f"""{constants} %s = arith.mulf %x0, %c : {kind} %f = {name} %s fastmath<afn> : {kind}
        %a = arith.addf %f, %one : {kind} %p = arith.mulf %x0, %a : {kind} %g = arith.mulf %p, %h : {kind}
        %q = arith.divf %g, %d fastmath<arcp> : {kind}
        %under = arith.cmpf ult, %q, %low : {kind} %l = arith.select %under, %low, %q : {flags}, {kind}
        %over = arith.cmpf ugt, %l, %high : {kind} %u = arith.select %over, %high, %l : {flags}, {kind}
        %r = math.roundeven %u : {kind}"""
    x = numbers(name)[0]
    x = np.concatenate([x[np.abs(x) < 1e30], np.linspace(-9, 9, 4096, dtype=np.float32), [np.inf, np.nan]])
    x = np.resize(x.astype(np.float32), -(-len(x) // 16) * 16)
    picks = expanded(loop(body, lanes=16), looks_up=True).count("vpermi2var")
    assert picks < 1 + lookup.FUNCTIONS[name].degree or divisor == 0.002  # a code is small there
    result = run(loop(body, lanes=16), x, looks_up=True).astype(np.float64)
    wide = x.astype(np.float64)
    exact = wide * (1 + REFERENCE[name](wide * np.float64(np.float32(0.7071)))) * 0.5 / float(np.float32(divisor))
    exact = np.where(np.isnan(exact), -3.0, np.clip(exact, -3, 252))
    assert np.abs(result - exact).max() <= 0.5 + 2 * lookup.ROUNDED


@needs_tables
def test_neighbouring_functions_are_computed_side_by_side() -> None:
    kind = "vector<16xf32>"
    body = "\n".join(f"%y{i} = math.erf %x{i} fastmath<afn> : {kind}" for i in range(2))
    text = expanded(loop(f"{body}\n%r = arith.addf %y0, %y1 : {kind}", arguments=2, lanes=16), looks_up=True)
    called = [line for line in text.splitlines() if "call_intrinsic" in line]
    assert len(called) == 2 * 4
    assert called[0].split("(")[1:] != called[1].split("(")[1:]  # of the one vector, and of the other
    x = numbers("math.erf")[0]
    both = run(loop(f"{body}\n%r = arith.subf %y0, %y1 : {kind}", arguments=2, lanes=16), x, -x, looks_up=True)
    one = run(loop(f"%r = math.erf %x0 fastmath<afn> : {kind}", lanes=16), x, looks_up=True)
    np.testing.assert_array_equal(both, 2 * one)


@pytest.mark.parametrize("kind", ["f32", "vector<8xf32>", "vector<16xf16>"])
def test_what_fills_no_register_is_not_looked_up(kind: str) -> None:
    source = f"func.func @f(%x: {kind}) -> {kind} {{ %r = math.erf %x fastmath<afn> : {kind} return %r : {kind} }}"
    assert expanded(source, looks_up=True) == expanded(source)


def test_a_function_of_its_own_result_comes_after_it() -> None:
    source = "func.func @f(%x: f32) -> f32 { %a = math.exp %x : f32 %r = math.exp %a : f32 return %r : f32 }"
    assert "math." not in expanded(source)  # it verifies


@pytest.mark.parametrize("exponent", [-4, -3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 2.2])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_constant_exponent(exponent: float) -> None:
    x = numbers("math.exp")[0]
    body = f"%y = arith.constant {float(exponent):e} : f32\n%r = math.powf %x0, %y : f32"
    exact = np.power(x.astype(np.float64), np.full(x.shape, np.float32(exponent), np.float64))  # a scalar 0.5 is a sqrt
    assert worst_error(run(loop(body), x), exact) <= 4.0


@pytest.mark.parametrize("exponent", ["2.0 : f32", "-0.5 : f32", "3.0 : f64", "dense<2.0> : vector<4xf32>"])
def test_small_constant_exponent_needs_no_transcendental(exponent: str) -> None:
    kind = exponent.split(" : ")[1]
    body = f"%y = arith.constant {exponent} %r = math.powf %x, %y : {kind} return %r : {kind}"
    text = expanded(f"func.func @f(%x: {kind}) -> {kind} {{ {body} }}")
    assert "powf" not in text
    assert "bitcast" not in text


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_half_goes_through_single() -> None:
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    result = run(loop("%r = math.exp %x0 : f16", element="f16"), x)
    expected = np.exp(x.astype(np.float64)).astype(np.float16)
    np.testing.assert_array_max_ulp(result[~np.isnan(x)], expected[~np.isnan(x)], maxulp=1)
    assert np.isnan(result[np.isnan(x)]).all()


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("element", ["f32", "bf16"])
def test_nothing_is_left_and_every_float_operation_is_decided(name: str, element: str) -> None:
    operands = "%x, %x" if name in BINARY else "%x"
    text = expanded(
        f"func.func @f(%x: {element}) -> {element} {{ %r = {name} {operands} : {element} return %r : {element} }}"
    )
    made = (
        "math.",
        "arith.addf",
        "arith.subf",
        "arith.mulf",
        "arith.divf",
        "arith.cmpf",
        "arith.negf",
        "arith.truncf",
        "arith.extf",
    )
    assert not set(FUNCTIONS) & set(text.split())
    assert all("fastmath<contract>" in line for line in text.splitlines() if any(word in line for word in made))


@pytest.mark.parametrize("name", ["exp", "erf", "tanh", "log", "sin", "powf", "atan2"])
@pytest.mark.parametrize(("cpu", "lanes"), [("x86-64-v3", 8), ("x86-64-v4", 16)])
def test_loop_is_vectorised_without_calls(name: str, cpu: str, lanes: int) -> None:
    arguments = 1 + (f"math.{name}" in BINARY)
    body = f"%r = math.{name} {', '.join(['%x0', '%x1'][:arguments])} : f32"
    module, target = optimised(loop(body, arguments=arguments), cpu, "-prefer-256-bit" if lanes == 16 else "")
    in_double = name in ("sin", "powf", "atan2")  # how many lanes these have is up to LLVM
    assert ("x double>" if in_double else f"fmul contract <{lanes} x float>") in str(module)
    assert "call" not in target.emit_assembly(module)


@pytest.mark.parametrize(
    "source",
    [
        "func.func @f(%x: f64) -> f64 { %r = math.exp %x : f64 return %r : f64 }",
        "func.func @f(%x: tensor<4xf32>) { %r = math.exp %x : tensor<4xf32> return }",
        "func.func @f(%x: f32) -> f32 { %r = math.sqrt %x : f32 return %r : f32 }",
        "func.func @f(%x: f32) -> f32 { %r = math.fma %x, %x, %x : f32 return %r : f32 }",
    ],
)
def test_left_alone(source: str) -> None:
    with ir.Context():
        before = str(ir.Module.parse(source))
    assert expanded(source) == before


def test_inside_nested_regions() -> None:
    text = expanded(loop("%a = math.exp %x0 : f32\n%r = math.log %a : f32"))
    assert text.index("arith.constant") < text.index("scf.for")
    assert "math." not in text
