"""Loops over functions of `math`, expanded, compiled and run on this machine; their arguments and their exact results."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np
import scipy.special
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects.llvm import translate_module_to_llvmir
from torch_mlir.passmanager import PassManager

from sparsec.passes.expand_math import expand_math
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
