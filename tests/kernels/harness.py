"""Compiles one kernel for this machine and runs it on NumPy arrays: what the whole compiler does, for one layer."""

from __future__ import annotations

import ctypes
import itertools
import re
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from emulated_tiles import emulated
from expected import Array, output_shape
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects.llvm import translate_module_to_llvmir
from torch_mlir.passmanager import PassManager

from sparsec.kernels.arithmetic import BF16, FP16, U8S8, Arithmetic
from sparsec.kernels.arithmetic import F32 as SINGLE
from sparsec.kernels.epilogue import IDENTITY, Epilogue
from sparsec.kernels.isa import AVX2, AVX2_VNNI, AVX512, AVX512_AMX, AVX512_BF16, Isa
from sparsec.kernels.kernel import Call, Kernel, LoweredLayer, Weight
from sparsec.kernels.problem import Problem
from sparsec.passes.expand_math import expand_math
from sparsec.runtime.library import cpu_features

F32 = NDArray[np.float32]
Function = Callable[..., None]  # (pointers…, begin, end)

PIPELINE = (
    "builtin.module(func.func(canonicalize,cse,convert-vector-to-scf),expand-strided-metadata,lower-affine,"
    "convert-scf-to-cf,convert-vector-to-llvm{enable-x86=1},convert-math-to-llvm,convert-math-to-libm,finalize-memref-to-llvm,"
    "convert-func-to-llvm{use-bare-ptr-memref-call-conv=1},convert-arith-to-llvm,convert-index-to-llvm,"
    "convert-cf-to-llvm,convert-ub-to-llvm,reconcile-unrealized-casts,canonicalize,cse)"
)
NARROW = Isa("v128", 16, 32, masks=False)  # the shape of NEON and Wasm, run here with the instructions of AVX2
CPU = {
    NARROW: ("x86-64-v3", ""),
    AVX512: ("x86-64-v4", "-prefer-256-bit,+avx512vbmi,+avx512vbmi2"),
    AVX512_BF16: ("x86-64-v4", "-prefer-256-bit,+avx512vnni,+avx512vbmi,+avx512vbmi2,+avx512bf16"),
    AVX512_AMX: (
        "x86-64-v4",
        "-prefer-256-bit,+avx512vnni,+avx512vbmi,+avx512vbmi2,+avx512bf16,+amx-tile,+amx-int8,+amx-bf16",
    ),
    AVX2: ("x86-64-v3", ""),
    AVX2_VNNI: ("x86-64-v3", "+avxvnni"),
}

TILE_REGISTERS = {"amx-tile", "amx-int8", "amx-bf16"} <= cpu_features()  # else they are emulated

DTYPES: Mapping[str, type[np.generic]] = {
    "f32": np.float32,
    "f16": np.float16,
    "i32": np.int32,
    "i8": np.uint8,
}

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


def runs(isa: Isa) -> bool:
    """Whether this machine can run what is compiled for `isa`."""
    cpu, features = CPU[isa]
    wanted = {"avx512vl" if cpu == "x86-64-v4" else "avx2", *re.findall(r"\+([\w-]+)", features)}
    found = llvm.get_host_cpu_features()
    return all(found.get(feature) for feature in wanted)


def host_isas() -> list[Isa]:
    """The instruction sets that this machine can run."""
    return [isa for isa in (AVX512, AVX2, NARROW) if runs(isa)]


WIDEST = next(iter(host_isas()), AVX512)


@dataclass(frozen=True, slots=True)
class Variant:
    """An arithmetic on an instruction set."""

    arithmetic: Arithmetic
    isa: Isa

    def __str__(self) -> str:
        return f"{self.arithmetic.name}-{self.isa.suffix}-{self.isa.bytes_dot}"

    def activations(self, shape: tuple[int, ...], random: np.random.Generator) -> Array:
        """Random x: normal numbers, or any bytes."""
        if self.arithmetic == U8S8:
            return random.integers(0, 256, shape, dtype=np.uint8)
        return random.standard_normal(shape, dtype=np.float32)

    def weights(self, shape: tuple[int, ...], random: np.random.Generator) -> Array:
        """Random w: normal numbers, or any signed bytes."""
        if self.arithmetic == U8S8:
            return random.integers(-128, 128, shape, dtype=np.int8)
        return random.standard_normal(shape, dtype=np.float32)

    def exact(self, values: Array) -> Array:
        """The numbers that are multiplied for `values` in memory."""
        if self.arithmetic == FP16:
            return values.astype(np.float16).astype(np.float32)
        if self.arithmetic != BF16:
            return values
        floats = torch.from_numpy(np.array(values, dtype=np.float32))
        return np.asarray(floats.to(torch.bfloat16).to(torch.float32).numpy())


def variants(*arithmetics: Arithmetic) -> list[Variant]:
    """These arithmetics on every instruction set of this machine that has an instruction of its own for them."""
    isas = {
        SINGLE: host_isas(),
        BF16: [isa for isa in (AVX512_BF16,) if runs(isa)],
        U8S8: [*(isa for isa in (AVX512_BF16, AVX2_VNNI) if runs(isa)), *host_isas()],
    }
    return [Variant(arithmetic, isa) for arithmetic in arithmetics for isa in isas[arithmetic]]


def _old_literal(value: float) -> str:
    return f"0x{struct.unpack('<Q', struct.pack('<d', float(np.float32(value))))[0]:016X}"


def to_llvm22(text: str) -> str:
    """Rewrite the float literals of LLVM 24 text as LLVM 22 reads them."""
    text = re.sub(
        r"\b(float|double) ([+-])inf\b", lambda m: f"{m[1]} 0x{'FFF' if m[2] == '-' else '7FF'}0000000000000", text
    )
    text = re.sub(
        r"\bf0x([0-9A-F]{8})\b", lambda m: _old_literal(struct.unpack("<f", struct.pack("<I", int(m[1], 16)))[0]), text
    )

    def line(text: str) -> str:
        if "float" not in text or re.search(r"\b(double|half|bfloat)\b", text):
            return text
        return re.sub(r"(?<![\w.%@])-?\d+\.\d+e[+-]\d+", lambda m: _old_literal(float(m[0])), text)

    return "\n".join(map(line, text.split("\n")))


def to_llvm(module: ir.Module) -> str:
    """LLVM IR text of a module of kernels; the kernels become public so that they can be looked up."""
    with module.context, ir.Location.unknown():
        for op in module.body:
            op.attributes["sym_visibility"] = ir.StringAttr.get("public")
        PassManager.parse(PIPELINE).run(module.operation)
    return to_llvm22(translate_module_to_llvmir(module.operation))


@dataclass(frozen=True, slots=True)
class Machine:
    """Machine code in this process, which may be for another processor; keeps `engine` alive."""

    isa: Isa
    engine: llvm.ExecutionEngine
    assembly: str
    seconds: float

    def function(self, name: str, arguments: int) -> Function:
        """What `name` is called as; the test is skipped where this processor cannot run it."""
        if not runs(self.isa):
            pytest.skip(f"this processor does not run what is compiled for {CPU[self.isa]}")
        kinds = [ctypes.c_void_p] * arguments + [ctypes.c_int64] * 2
        return ctypes.CFUNCTYPE(None, *kinds)(self.engine.get_function_address(name))


def compile_text(text: str, isa: Isa) -> Machine:
    """Optimise LLVM IR text for `isa` and load it."""
    started = time.perf_counter()
    if isa.tile_registers and not TILE_REGISTERS:
        text, isa = emulated(text), replace(isa, tile_registers=False)
    module = llvm.parse_assembly(text)
    cpu, features = CPU[isa]
    target = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3, jit=True)
    module.triple, module.data_layout = target.triple, str(target.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.slp_vectorization = options.loop_interleaving = False
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    assembly = target.emit_assembly(module)
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    return Machine(isa, engine, assembly, time.perf_counter() - started)


def aligned(size: int, dtype: np.dtype[np.generic] | type[np.generic]) -> Array:
    """A 64-byte aligned flat array filled with a byte that is NaN in float32 (nothing may depend on it)."""
    dtype = np.dtype(dtype)
    raw = np.full(size * dtype.itemsize + 128, 0xFF, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * dtype.itemsize].view(dtype)


def place(values: Array) -> Array:
    """A flat 64-byte aligned copy."""
    copy = aligned(values.size, values.dtype)
    copy[:] = values.reshape(-1)
    return copy


@dataclass(frozen=True, slots=True)
class Layer:
    """A kernel compiled for one problem."""

    problem: Problem
    lowered: LoweredLayer
    machine: Machine
    memory: dict[str, Array]
    result: np.dtype[np.generic]  # of y

    def bind(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All buffers of the calls; `inputs` has "x" (or "p", "q") and "epilogue.0" …."""
        y = aligned(int(np.prod(output_shape(self.problem))), self.result)
        return {**self.memory, **{name: place(np.asarray(value)) for name, value in inputs.items()}, "y": y}

    def start(self, call: Call, buffers: Mapping[str, Array], begin: int, end: int) -> None:
        function = self.machine.function(call.function, len(call.arguments))
        function(*(buffers[name].ctypes.data for name in call.arguments), begin, end)

    def run(self, inputs: Mapping[str, Array], cuts: Sequence[float] = ()) -> Array:
        """The output; each call is made in pieces, cut at the fractions `cuts` of its extent, the last piece first."""
        buffers = self.bind(inputs)
        for call in self.lowered.calls:
            bounds = [0, *sorted(int(cut * call.extent) for cut in cuts), call.extent]
            for begin, end in reversed(list(itertools.pairwise(bounds))):
                self.start(call, buffers, begin, end)
        return buffers["y"].reshape(output_shape(self.problem))

    def timer(self, inputs: Mapping[str, Array]) -> tuple[list[tuple[Function, tuple[int, ...]]], dict[str, Array]]:
        """The bound calls in order, for timing, and the buffers they use (keep them alive)."""
        buffers = self.bind(inputs)
        bound = [
            (
                self.machine.function(call.function, len(call.arguments)),
                (*(buffers[name].ctypes.data for name in call.arguments), 0, call.extent),
            )
            for call in self.lowered.calls
        ]
        return bound, buffers

    def seconds(self, inputs: Mapping[str, Array], repeats: int = 30) -> float:
        """Median time of one run on one thread, warm."""
        bound, _buffers = self.timer(inputs)
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            for function, arguments in bound:
                function(*arguments)
            times.append(time.perf_counter() - started)
        return float(np.median(times))


def compile_layer(
    kernel: Kernel, problem: Problem, weight: Weight | None = None, epilogue: Epilogue = IDENTITY, isa: Isa = WIDEST
) -> Layer:
    """Generate, lower and load `kernel` for one problem."""
    with ir.Context() as context, ir.Location.unknown():
        context.enable_multithreading(False)
        module = ir.Module.create()
        lowered = kernel.lower(module, problem, weight, epilogue, isa)
        assert module.operation.verify()
        expand_math(module, looks_up=isa.masks)
        text = to_llvm(module)
    memory = {name: place(value) for name, value in lowered.weights.items()}
    memory |= {name: aligned(size, DTYPES[dtype]) for name, (dtype, size) in lowered.scratch.items()}
    return Layer(problem, lowered, compile_text(text, isa), memory, np.dtype(DTYPES[epilogue.result]))


def run(
    kernel: Kernel,
    problem: Problem,
    inputs: Mapping[str, Array],
    weight: Weight | None = None,
    epilogue: Epilogue = IDENTITY,
    isa: Isa = WIDEST,
    cuts: Sequence[float] = (),
) -> Array:
    """Generate, lower, load and run once; the output has the layer's shape."""
    return compile_layer(kernel, problem, weight, epilogue, isa).run(inputs, cuts)
