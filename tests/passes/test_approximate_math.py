"""expand_math where about single precision is enough: within its errors of float64, by tables in registers or without."""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
import pytest

from sparsec.kernels.words import ROUNDS
from sparsec.passes.math import lookup
from tests.passes.math_loops import REFERENCE, expanded, loop, numbers, run, worst_error

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
