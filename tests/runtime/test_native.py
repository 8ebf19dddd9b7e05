"""Kernels that use the parts of an image that need linking, and the functions that the core offers them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
import torch

from sparsec.artifact import Buffer, Piece, Program, Space, Step, TensorSpec
from sparsec.errors import SparsecError
from sparsec.runtime import Session, library
from sparsec.targets import host_features
from tests.llvm_loops import unary
from tests.runtime.conftest import program as program_of

Build = Callable[..., Program]

COUNT = 1000


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_into_libm(build_unary: Build, threads: int) -> None:
    program = build_unary("%r = call float @erff(float %x)", COUNT, declarations="declare float @erff(float)")
    x = np.linspace(-4, 4, COUNT, dtype=np.float32)
    with Session(program, threads=threads) as session:
        y = session([x])["y"]
    np.testing.assert_allclose(y, [math.erf(value) for value in x], rtol=1e-6)


def test_constant_tables(build_unary: Build) -> None:
    table = "@table = private constant [4 x float] [float 1.0, float 2.0, float 4.0, float 8.0]"
    body = """
      %m = and i64 %i, 3
      %p = getelementptr float, ptr @table, i64 %m
      %t = load float, ptr %p
      %r = fmul float %x, %t"""
    x = np.ones(COUNT, np.float32)
    with Session(build_unary(body, COUNT, declarations=table)) as session:
        np.testing.assert_array_equal(session([x])["y"], np.tile([1, 2, 4, 8], COUNT // 4))


def test_jump_tables(build_unary: Build) -> None:
    names = ["sinf", "cosf", "tanf", "sinhf", "coshf", "tanhf"]
    declarations = "\n".join(f"declare float @{name}(float)" for name in names)
    cases = " ".join(f"i64 {index}, label %c{index}" for index in range(len(names)))
    calls = "\n".join(
        f"c{index}:\n  %r{index} = call float @{name}(float %x)\n  br label %join" for index, name in enumerate(names)
    )
    values = ", ".join(f"[ %r{index}, %c{index} ]" for index in range(len(names)))
    body = f"""
      %m = urem i64 %i, 7
      switch i64 %m, label %join [ {cases} ]
{calls}
join:
      %r = phi float {values}, [ %x, %body ]"""
    x = np.linspace(-1, 1, COUNT, dtype=np.float32)
    expected = x.copy()
    for index, function in enumerate([np.sin, np.cos, np.tan, np.sinh, np.cosh, np.tanh]):
        expected[index::7] = function(x[index::7])
    with Session(build_unary(body, COUNT, declarations=declarations), threads=2) as session:
        np.testing.assert_allclose(session([x])["y"], expected, rtol=1e-6)


def test_loops_that_become_memset(build_unary: Build) -> None:
    program = build_unary("%r = fmul nnan ninf float 0.0, 0.0", COUNT)
    assert program.code.imports.keys() == {"memset"}
    with Session(program) as session:
        assert not session([np.ones(COUNT, np.float32)])["y"].any()


def test_writable_data_belongs_to_the_session(build_unary: Build) -> None:
    body = """
      %old = load float, ptr @state
      %r = fadd float %old, %x
      store float %r, ptr @state"""
    program = build_unary(body, 3, declarations="@state = internal global float 5.0", grain=3)
    x = np.ones(3, np.float32)
    with Session(program) as one, Session(program) as other:
        assert one([x])["y"].tolist() == [6, 7, 8]
        assert one([x])["y"].tolist() == [9, 10, 11]
        assert other([x])["y"].tolist() == [6, 7, 8]


def _all_patterns(dtype: str) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    return np.arange(2**16, dtype=np.uint16).view(dtype)


def _doubles() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Random magnitudes, and for every half and bfloat16 the ties above it and their neighbours."""
    generator = np.random.default_rng(0)
    spread = generator.standard_normal(4000) * 10.0 ** generator.uniform(-45, 40, 4000)
    halves = _all_patterns("float16").astype(np.float64)
    wide = _all_patterns("uint16").astype(np.uint32) << 16
    brains = wide.view(np.float32).astype(np.float64)
    ties = [np.nextafter((row[:-1] + row[1:]) / 2, way) for row in (halves, brains) for way in (-np.inf, np.inf)]
    exact = [(row[:-1] + row[1:]) / 2 for row in (halves, brains)]
    return np.concatenate([spread, halves, brains, *ties, *exact, [np.inf, -np.inf, np.nan, 0.0, -0.0]])


def _same(
    found: np.ndarray[tuple[int], np.dtype[np.generic]], right: np.ndarray[tuple[int], np.dtype[np.generic]]
) -> None:
    """Equal bits, except that any NaN equals any other."""
    nan = np.isnan(right.astype(np.float64))
    assert np.isnan(found.astype(np.float64))[nan].all()
    np.testing.assert_array_equal(found.view(np.uint16)[~nan], right.view(np.uint16)[~nan])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("symbol", "kind", "result"),
    [("__truncdfhf2", "double", "half"), ("__truncsfhf2", "float", "half"), ("__truncsfbf2", "float", "bfloat")],
)
def test_narrowing_rounds_to_nearest_even(build_unary: Build, symbol: str, kind: str, result: str) -> None:
    x = _doubles().astype({"double": np.float64, "float": np.float32}[kind])
    declaration = f"declare {result} @{symbol}({kind})"
    body = f"%r = call {result} @{symbol}({kind} %x)"
    program = build_unary(body, len(x), declarations=declaration, kind=kind, result=result)
    assert symbol in program.code.imports
    with Session(program) as session:
        y = session([x])["y"]
    right = x.astype(np.float16) if result == "half" else x.astype(ml_dtypes.bfloat16)
    _same(y.view(right.dtype), right)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_double_to_bfloat16_rounds_once(build_unary: Build) -> None:
    declaration = "declare bfloat @__truncdfbf2(double)"
    body = "%r = call bfloat @__truncdfbf2(double %x)"
    x = np.array([1 + 2**-8, 1 + 2**-8 + 2**-40, 1 + 3 * 2**-8, 1 + 3 * 2**-8 - 2**-40, 2.0**-134, 2.0**-134 * 1.001])
    program = build_unary(body, len(x), declarations=declaration, kind="double", result="bfloat")
    with Session(program) as session:
        y = session([x])["y"]
    assert y.tolist() == [0x3F80, 0x3F81, 0x3F82, 0x3F81, 0x0000, 0x0001]


def test_widening_a_half_is_exact(build_unary: Build) -> None:
    declaration = "declare float @__extendhfsf2(half)"
    body = "%r = call float @__extendhfsf2(half %x)"
    x = _all_patterns("float16")
    with Session(build_unary(body, len(x), declarations=declaration, kind="half")) as session:
        np.testing.assert_array_equal(session([x])["y"], x.astype(np.float32))


def test_bfloat16_comes_in_as_torch_ml_dtypes_or_bits(build_unary: Build) -> None:
    x = torch.arange(-8, 8, dtype=torch.bfloat16)
    with Session(build_unary("%r = fpext bfloat %x to float", 16, kind="bfloat")) as session:
        for each in (x, x.float().numpy().astype(ml_dtypes.bfloat16), x.view(torch.uint16).numpy()):
            np.testing.assert_array_equal(session([each])["y"], np.arange(-8, 8))


LIBM = [
    "acos",
    "asin",
    "atan",
    "sinh",
    "cosh",
    "tan",
    "tanh",
    "asinh",
    "expm1",
    "log1p",
    "cbrt",
    "floor",
    "ceil",
    "trunc",
]


@pytest.mark.parametrize("name", [*LIBM, "exp2", "rint", "fabs"])
def test_functions_of_one_argument(build_unary: Build, name: str) -> None:
    numpy_name = {"acos": "arccos", "asin": "arcsin", "atan": "arctan", "asinh": "arcsinh"}.get(name, name)
    x = np.linspace(-0.99, 0.99, COUNT)
    for suffix, kind, dtype in (("", "double", np.float64), ("f", "float", np.float32)):
        symbol = f"{name}{suffix}"
        declaration, body = f"declare {kind} @{symbol}({kind})", f"%r = call {kind} @{symbol}({kind} %x)"
        program = build_unary(body, COUNT, declarations=declaration, kind=kind, result=kind)
        with Session(program) as session:
            expected = getattr(np, numpy_name)(x.astype(dtype))
            np.testing.assert_allclose(session([x.astype(dtype)])["y"], expected, rtol=1e-6)


@pytest.mark.parametrize("base", [1.5, -2.0, 0.5])
def test_integer_powers(build_unary: Build, base: float) -> None:
    body = "%n = trunc i64 %i to i32\n  %s = sub i32 %n, 10\n  %r = call float @__powisf2(float %x, i32 %s)"
    program = build_unary(body, 21, declarations="declare float @__powisf2(float, i32)")
    with Session(program) as session:
        y = session([np.full(21, base, np.float32)])["y"]
    np.testing.assert_allclose(y, base ** np.arange(-10.0, 11.0), rtol=1e-6)


def test_ties_round_to_even(build_unary: Build) -> None:
    declaration, body = "declare float @roundevenf(float)", "%r = call float @roundevenf(float %x)"
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999], np.float32)
    with Session(build_unary(body, len(x), declarations=declaration)) as session:
        np.testing.assert_array_equal(session([x])["y"], np.round(x))


@pytest.mark.parametrize("symbol", ["memcpy", "expf", "pow", "fmaf", "roundeven", "atan2f", "__truncdfbf2"])
def test_offered_functions(symbol: str) -> None:
    assert library.has_import(symbol)


@pytest.mark.parametrize("symbol", ["malloc", "free", "abort", "puts", "system", "", "expff"])
def test_functions_not_offered(symbol: str) -> None:
    assert not library.has_import(symbol)


def test_features_agree_with_llvm() -> None:
    found, known = library.cpu_features(), host_features()
    assert found <= known
    assert {"avx2", "avx512f", "avx512vnni", "avx512bf16", "fma", "lzcnt"} & known <= found


def test_a_core_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_INTERFACE", 999)
    with pytest.raises(SparsecError, match=r"another version(.|\n)*interface 999(.|\n)*interface \d"):
        library._core.__wrapped__()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("odd", [0, 1])
def test_stored_halves_are_widened_when_a_program_is_loaded(odd: int) -> None:
    """All that there are: subnormal ones, infinities, NaN; also if they do not lie at an even address."""
    halves = _all_patterns("float16")
    stored = np.concatenate([np.full(4 + odd, 7, np.uint8), halves.view(np.uint8), np.full(16 - odd, 9, np.uint8)])
    pieces = (Piece(4 + odd, False), Piece(4 * halves.size, True), Piece(16 - odd, False))
    step = Step("k", (Buffer(Space.WEIGHTS, 0), Buffer(Space.OUTPUT, 0)), halves.size + 5, 2**17, "copy")
    copy = unary("%r = add i32 %x, 0", "i32", "i32")
    program = program_of(copy, [step], [], [TensorSpec("y", "uint32", (halves.size + 5,))], weights=stored)
    with Session(dataclasses.replace(program, pieces=pieces)) as session:
        memory = session([])["y"].view(np.uint8)
    assert (memory[: 4 + odd] == 7).all()
    assert (memory[4 + odd + 4 * halves.size :] == 9).all()
    found, right = memory[4 + odd :][: 4 * halves.size].copy().view(np.float32), halves.astype(np.float32)
    nan = np.isnan(right)
    assert np.isnan(found[nan]).all()
    np.testing.assert_array_equal(found.view(np.uint32)[~nan], right.view(np.uint32)[~nan])
