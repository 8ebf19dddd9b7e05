"""Runs a plan for GPUs without one: its kernels' LLVM IR on this CPU, threads taking turns, and its products in NumPy."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeAlias

import llvmlite.binding as llvm
import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from sparsec import runtime
from sparsec.artifact import NUMPY_DTYPES, Space
from sparsec.cuda.network.plan import (
    Address,
    Attention,
    BatchedProduct,
    Convolution,
    DevicePlan,
    Heads,
    Launch,
    Mask,
    Pool,
    Product,
    Rows,
    Strided,
    Tail,
)
from sparsec.targets.optimiser import initialise, parsed

Array: TypeAlias = np.ndarray
_FLOAT = np.dtype(np.float32)
_INTRINSICS = {
    "llvm.nvvm.read.ptx.sreg.tid.x": "emulated_thread",
    "llvm.nvvm.read.ptx.sreg.ctaid.x": "emulated_block",
    "llvm.nvvm.shfl.sync.bfly.f32": "emulated_shuffle",
}
# Conversions that LLVM calls on processors without instructions for them; few systems' libraries have all.
_CONVERSIONS = ("truncsfhf2", "truncdfhf2", "truncsfbf2", "truncdfbf2", "extendhfsf2", "extendhfdf2", "extendbfsf2")
_BARRIER = re.compile(r"@llvm\.nvvm\.barrier[\w.]*\([^)]*\)")


@cache
def _library() -> ctypes.CDLL:
    source, made = Path(__file__).with_name("emulated.c"), Path(mkdtemp()) / "emulated.so"
    conversions = Path(runtime.__file__).parent / "native" / "half.c"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", made, source, conversions], check=True)
    return ctypes.CDLL(str(made))


class Kernels:
    """The functions of LLVM IR text that was written for GPUs."""

    def __init__(self, text: str) -> None:
        library = _library()
        symbols = {f"emulated_{name}": f"emulated_{name}" for name in ("thread", "block", "shuffle", "barrier")}
        symbols |= {f"__{name}": f"sparsec_{name}" for name in _CONVERSIONS}
        for symbol, function in symbols.items():
            llvm.add_symbol(symbol, ctypes.cast(getattr(library, function), ctypes.c_void_p).value)
        self._launch = library.emulated_launch
        initialise()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        context = llvm.create_context()
        module = parsed(_for_this_machine(text), context)
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=1, jit=True
        )
        module.triple = llvm.get_default_triple()
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()

    def launch(self, step: Launch, addresses: Sequence[int]) -> None:
        """Run all blocks of a launch, one after the other."""
        pointers = (ctypes.c_void_p * max(1, len(addresses)))(*addresses)
        entry = ctypes.c_void_p(self._engine.get_function_address(f"{step.function}_emulated"))
        self._launch(entry, pointers, step.grid[0], step.block[0])


def _for_this_machine(text: str) -> str:
    for name, replacement in _INTRINSICS.items():
        text = text.replace(f"@{name}(", f"@{replacement}(")
    text = _BARRIER.sub("@emulated_barrier()", text).replace("ptx_kernel ", "")
    wrappers = []
    for found in re.finditer(r"^define void @(\w+)\(([^)]*(?:\([^)]*\)[^)]*)*)\) ", text, re.MULTILINE):
        name, count = found[1], found[2].count("ptr ")
        loads = "\n".join(
            f"  %a{at} = getelementptr ptr, ptr %given, i64 {at}\n  %p{at} = load ptr, ptr %a{at}"
            for at in range(count)
        )
        passed = ", ".join(f"ptr %p{at}" for at in range(count))
        wrappers.append(
            f"define void @{name}_emulated(ptr %given) {{\n{loads}\n  call void @{name}({passed})\n  ret void\n}}"
        )
    return text + "\n" + "\n".join(wrappers)


@dataclass(frozen=True, slots=True)
class _Memory:
    """Where addresses of a plan are."""

    plan: DevicePlan
    spaces: Mapping[tuple[Space, int], NDArray[np.uint8]]

    @property
    def half(self) -> np.dtype[np.generic]:
        return np.dtype(np.float16 if self.plan.precision == "float16" else ml_dtypes.bfloat16)

    def pointer(self, address: Address) -> int:
        return int(self.spaces[address.space, address.number].ctypes.data) + address.offset

    def view(
        self, address: Address, dtype: np.dtype[np.generic], shape: Sequence[int], strides: Sequence[int]
    ) -> Array:
        """Elements at an address; strides in elements."""
        raw = self.spaces[address.space, address.number][address.offset :]
        reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1
        flat = raw[: reach * dtype.itemsize].view(dtype)
        assert flat.size == reach, "a step reaches beyond what is there"
        return np.lib.stride_tricks.as_strided(flat, shape, [stride * dtype.itemsize for stride in strides])

    def rows(self, rows: Rows, count: int, columns: int) -> Array:
        return self.view(rows.address, self.half, (count, columns), (rows.stride, 1))


def run_plan(
    plan: DevicePlan, text: str, inputs: Mapping[str, Array], failed: list[int] | None = None
) -> dict[str, Array]:
    """Outputs of a plan whose kernels are LLVM IR `text`; all memory that it does not define is poison.

    The number of a check that failed is added to `failed`.
    """
    spaces: dict[tuple[Space, int], NDArray[np.uint8]] = {
        (Space.ARENA, 0): _aligned(np.full(plan.arena_bytes + 16, 0xFF, np.uint8)),
        (Space.WEIGHTS, 0): _aligned(plan.constants),
    }
    for number, spec in enumerate(plan.inputs):
        array = np.ascontiguousarray(inputs[spec.name].astype(NUMPY_DTYPES[spec.dtype], copy=False))
        spaces[Space.INPUT, number] = _aligned(array.reshape(-1).view(np.uint8))
    for number, spec in enumerate(plan.outputs):
        spaces[Space.OUTPUT, number] = _aligned(np.full(spec.nbytes, 0xFF, np.uint8))
    memory = _Memory(plan, spaces)
    if plan.status is not None:
        memory.view(Address(Space.ARENA, plan.status), np.dtype(np.int64), (1,), (1,))[...] = 0
    kernels = Kernels(text) if text else None
    for step in plan.steps:
        if isinstance(step, Launch):
            assert kernels is not None
            kernels.launch(step, [memory.pointer(address) for address in step.arguments])
        else:
            _compute(step, memory)
    if plan.status is not None and failed is not None:
        failed.append(int(memory.view(Address(Space.ARENA, plan.status), np.dtype(np.int64), (1,), (1,))[0]))
    return {
        spec.name: spaces[Space.OUTPUT, number].view(NUMPY_DTYPES[spec.dtype]).reshape(spec.shape).copy()
        for number, spec in enumerate(plan.outputs)
    }


def _aligned(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    raw = np.empty(data.size + 256, np.uint8)
    start = -raw.ctypes.data % 256
    raw[start : start + data.size] = data
    return raw[start : start + data.size]


def _compute(step: Product | BatchedProduct | Convolution | Pool | Attention, memory: _Memory) -> None:
    match step:
        case Product():
            weight = memory.plan.weights[step.weight]
            w = weight.bits().view(memory.half).astype(_FLOAT)
            m, k = w.shape
            x = memory.rows(step.x, step.tokens, k).astype(_FLOAT)
            memory.rows(step.y, step.tokens, m)[...] = _tail(x @ w.T, step.tail, memory, (step.tokens, m))
        case BatchedProduct():
            p = _matrices(step, step.p, (step.rows, step.inner), memory).astype(_FLOAT)
            q = _matrices(step, step.q, (step.inner, step.columns), memory).astype(_FLOAT)
            y = _matrices(step, step.y, (step.rows, step.columns), memory)
            y[...] = (step.scale * (p @ q)).astype(memory.half)
        case Convolution():
            _convolve(step, memory)
        case Pool():
            _pool(step, memory)
        case Attention():
            _attend(step, memory)


def _tail(sums: Array, tail: Tail, memory: _Memory, shape: tuple[int, int]) -> Array:
    total = sums.astype(_FLOAT)
    if tail.bias is not None:
        total = total + memory.view(tail.bias, _FLOAT, shape[-1:], (1,))
    residual = memory.rows(tail.residual, *shape).astype(_FLOAT) if tail.residual is not None else _FLOAT.type(0)
    if tail.residual_first:
        total = total + residual
    total = activated(total, tail.activation)
    return (total if tail.residual_first else total + residual).astype(memory.half)


def activated(value: Array, name: str | None) -> Array:
    """An activation of float32 numbers."""
    functions: dict[str | None, Callable[[Array], Array]] = {
        None: lambda x: x,
        "relu": lambda x: np.maximum(x, 0),
        "gelu": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
        "silu": lambda x: x / (1 + np.exp(-x)),
        "relu6": lambda x: np.clip(x, 0, 6),
    }
    return functions[name](value)


def _matrices(step: BatchedProduct, of: Strided, shape: tuple[int, int], memory: _Memory) -> Array:
    return memory.view(of.address, memory.half, (*step.batch, *shape), (*of.batch, of.rows, of.columns))


def _convolve(step: Convolution, memory: _Memory) -> None:
    import torch

    plan, outs = memory.plan, [axis.out for axis in step.axes]
    weight = plan.weights[step.weight]
    w = torch.from_numpy(weight.bits().view(memory.half).astype(_FLOAT))
    sizes = [axis.size for axis in step.axes]
    shape = (step.batch, step.channels, *sizes)
    image, row, pixel = step.strides
    x = memory.view(step.x, memory.half, shape, (image, 1, row, pixel)).astype(_FLOAT)
    pads = [pad for axis in reversed(step.axes) for pad in (axis.before, axis.after)]
    padded = torch.nn.functional.pad(torch.from_numpy(x), pads)
    strides, dilations = [axis.stride for axis in step.axes], [axis.dilation for axis in step.axes]
    sums = torch.nn.functional.conv2d(padded, w, None, strides, 0, dilations, step.groups).numpy()
    y = _image(step.y, (step.batch, step.filters, *outs), memory)
    tail = step.tail
    if tail.bias is not None:
        sums = sums + memory.view(tail.bias, _FLOAT, (step.filters,), (1,))[:, None, None]
    residual = np.zeros(1, _FLOAT)
    if tail.residual is not None:
        residual = _image(tail.residual.address, y.shape, memory).astype(_FLOAT)
    total = activated(sums + residual if tail.residual_first else sums, tail.activation)
    y[...] = (total if tail.residual_first else total + residual).astype(memory.half)


def _pool(step: Pool, memory: _Memory) -> None:
    x = _image(step.x, (step.batch, step.channels, *(axis.size for axis in step.axes)), memory).astype(_FLOAT)
    pads = [(0, 0), (0, 0), *((axis.before, axis.after) for axis in step.axes)]
    padded = np.pad(x, pads, constant_values=-np.inf)
    y = _image(step.y, (step.batch, step.channels, *(axis.out for axis in step.axes)), memory)
    down, right = step.axes
    windows = [
        padded[:, :, i * down.dilation :: down.stride, j * right.dilation :: right.stride][..., : down.out, : right.out]
        for i in range(down.kernel)
        for j in range(right.kernel)
    ]
    y[...] = np.max(windows, axis=0).astype(memory.half)


def _image(address: Address, shape: Sequence[int], memory: _Memory) -> Array:
    b, c, h, w = shape
    return memory.view(address, memory.half, (b, c, h, w), (c * h * w, 1, w * c, c))


def _attend(step: Attention, memory: _Memory) -> None:
    q = _heads(step, step.q, step.heads, step.queries, memory).astype(_FLOAT)
    shared = step.heads // step.key_heads
    k, v = (
        np.repeat(_heads(step, each, step.key_heads, step.keys, memory).astype(_FLOAT), shared, axis=1)
        for each in (step.k, step.v)
    )
    scores = step.scale * (q @ k.swapaxes(-1, -2))
    if step.mask is not None:
        scores = scores + _mask(step, step.mask, memory)
    if step.causal:
        late = np.arange(step.keys) > np.arange(step.queries)[:, None] + step.keys - step.queries
        scores = np.where(late, -np.inf, scores)
    y = _heads(step, step.y, step.heads, step.queries, memory)
    with np.errstate(invalid="ignore"):  # rows that are masked altogether are NaN, as in kernels
        grown = np.exp(scores - scores.max(-1, keepdims=True))
        y[...] = ((grown / grown.sum(-1, keepdims=True)) @ v).astype(memory.half)


def _heads(step: Attention, of: Heads, heads: int, tokens: int, memory: _Memory) -> Array:
    return memory.view(
        of.address, memory.half, (step.batch, heads, tokens, step.size), (of.batch, of.head, of.token, 1)
    )


def _mask(step: Attention, mask: Mask, memory: _Memory) -> Array:
    shape = (step.batch, step.heads, step.queries, step.keys)
    return memory.view(mask.address, _FLOAT, shape, (mask.batch, mask.head, mask.query, mask.key))
