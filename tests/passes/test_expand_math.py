"""expand_math: text, accuracy against float64, special values, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from torch_mlir import ir

from sparsec.passes.expand_math import FUNCTIONS
from tests.passes.math_loops import BINARY, REFERENCE, expanded, loop, numbers, optimised, run, worst_error


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


@pytest.mark.parametrize("exponent", ["1", "-2", "7"])
@pytest.mark.parametrize("kind", ["vector<4xf32>", "vector<4xf16>"])
def test_whole_powers_of_vectors_are_expanded(exponent: str, kind: str) -> None:
    body = f"%y = arith.constant dense<{exponent}> : vector<4xi64> %r = math.fpowi %x, %y : {kind}, vector<4xi64>"
    text = expanded(f"func.func @f(%x: {kind}) -> {kind} {{ {body} return %r : {kind} }}")
    assert "fpowi" not in text


def test_whole_powers_of_doubles_stay_double() -> None:
    body = "%y = arith.constant dense<3> : vector<4xi64> %r = math.fpowi %x, %y : vector<4xf64>, vector<4xi64>"
    text = expanded(f"func.func @f(%x: vector<4xf64>) -> vector<4xf64> {{ {body} return %r : vector<4xf64> }}")
    assert "fpowi" not in text
    assert "f32" not in text


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
