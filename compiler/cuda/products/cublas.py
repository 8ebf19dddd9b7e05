"""cuBLAS, if this machine has it: products with what cuBLASLt does to sums, on any stream, by ctypes.

It is never needed: where there is none, `find` says so with None, and products are done by kernels of our own.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import operator
import sys
from collections.abc import Iterator
from ctypes import byref, c_float, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path

from sparsec.cuda.device.driver import Device, device
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.errors import TargetError

WORKSPACE_BYTES = 32 << 20
WIDEST = 256  # bytes; alignment beyond it makes no difference

_COMPUTE_32F, _FLOAT32, _FLOAT16, _BFLOAT16 = 68, 0, 2, 14
_TRANSA, _EPILOGUE, _BIAS_POINTER = 3, 7, 8  # attributes of a product
_TRANSPOSED = 1
_PLAIN, _RELU, _BIAS = 1, 2, 4  # epilogues, of which the last two can be together
_MOST_WORKSPACE, _REDUCTIONS, _ALIGNMENTS = 1, 3, (6, 7, 8)  # attributes of a preference; of x, the residual and y
_IN_FLOAT32 = 2  # how parts of K are added up: not in elements of 16 bits, as results are rounded once
_OLDEST = 11_00_00


class _Heuristic(ctypes.Structure):
    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


@dataclass(frozen=True, slots=True)
class LtProduct:
    """y [tokens, m] = x [tokens, k] w [m, k]^T: strides of rows in elements; with a bias of the type of y, relu, and a matrix
    of the shape of y, which is added before relu. The addresses of x, y and that matrix are multiples of `alignment` bytes, a
    power of two; weights lie as `Memory` has them."""

    tokens: int
    m: int
    k: int
    x_stride: int
    w_stride: int
    y_stride: int
    residual_stride: int
    dtype: str
    bias: bool
    relu: bool
    alignment: int = WIDEST


def alignment(*addresses: int) -> int:
    """The most bytes, up to `WIDEST`, that all addresses are multiples of."""
    together = functools.reduce(operator.or_, addresses, WIDEST)
    return together & -together


@functools.cache
def find() -> ctypes.CDLL | None:
    """The library, or None where there is none."""
    for place in (*map(str, _places()), "libcublasLt.so.13", "libcublasLt.so.12"):
        try:
            library = ctypes.CDLL(place)
        except OSError:
            continue
        library.cublasLtGetVersion.restype = c_size_t
        if library.cublasLtGetVersion() >= _OLDEST:
            return library
    return None


def _places() -> Iterator[Path]:
    """Where the PyPI packages of cuBLAS 13 and 12 put it."""
    found = importlib.util.find_spec("nvidia")
    pattern = "cublasLt64_*.dll" if sys.platform == "win32" else "libcublasLt.so.*"
    for folder in (found.submodule_search_locations or ()) if found else ():
        for inside in ("cu13/lib", "cu13/bin/x86_64", "cublas/lib", "cublas/bin"):
            yield from sorted(Path(folder, inside).glob(pattern))


@functools.cache
def of(on: Device) -> CublasLt | None:
    """cuBLASLt on a GPU, or None where this machine has none, or not that GPU (`sparsec.cuda.device.absent`)."""
    try:
        return CublasLt(on) if find() is not None and device(on.index) is on else None
    except TargetError:  # the driver's, or what cuBLAS says of this GPU
        return None


class CublasLt:
    """cuBLASLt on one GPU; raises `TargetError` where there is none."""

    def __init__(self, on: Device) -> None:
        library = find()
        if library is None:
            raise TargetError("There is no cuBLAS on this machine.", next_step="pip install nvidia-cublas")
        self._library = library
        self._device = on
        self._memory = Memory(self, on)
        self._workspace = self._memory.scratch("workspace", WORKSPACE_BYTES).address
        self._plans: dict[LtProduct, _Plan | None] = {}
        self._handle = c_void_p()
        with on.current():
            self._call("cublasLtCreate", byref(self._handle))

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise TargetError(f"cuBLAS failed: {function}.", got=f"status {code}")

    def has(self, product: LtProduct) -> bool:
        """Whether cuBLAS does such products."""
        return self._plan(product) is not None

    def launch(
        self,
        product: LtProduct,
        x: int,
        w: int,
        y: int,
        stream: int,
        *,
        bias: int = 0,
        residual: int = 0,
        workspace: int = 0,
    ) -> None:
        """Put a product that there is (`has`) on a stream; `workspace` is the address of `WORKSPACE_BYTES`, or 0 for the one of
        all products that are in one order."""
        plan = self._plan(product)
        assert plan is not None
        if bias:
            self._set(plan.description, _BIAS_POINTER, c_void_p(bias))
        one, beta = c_float(1), c_float(1 if residual else 0)
        with self._device.current():
            self._call(
                "cublasLtMatmul",
                *(self._handle, plan.description, byref(one), c_void_p(w), plan.w, c_void_p(x), plan.x, byref(beta)),
                *(c_void_p(residual or y), plan.residual, c_void_p(y), plan.y, byref(plan.found.algorithm)),
                *(c_void_p(workspace or self._workspace), c_size_t(WORKSPACE_BYTES), c_void_p(stream)),
            )

    def _plan(self, product: LtProduct) -> _Plan | None:
        if product not in self._plans:
            self._plans[product] = self._planned(product)
        return self._plans[product]

    def _planned(self, each: LtProduct) -> _Plan | None:
        """Column-major, as cuBLAS has it: y^T [m, tokens] = w [m, k] x^T [k, tokens]."""
        kind = _BFLOAT16 if each.dtype == BFLOAT16 else _FLOAT16
        description = c_void_p()
        self._call("cublasLtMatmulDescCreate", byref(description), _COMPUTE_32F, _FLOAT32)
        self._set(description, _TRANSA, c_int32(_TRANSPOSED))
        epilogue = (_RELU if each.relu else 0) | (_BIAS if each.bias else 0)
        self._set(description, _EPILOGUE, c_int32(epilogue or _PLAIN))
        if each.bias:
            self._set(description, _BIAS_POINTER, c_void_p(self._workspace))  # an aligned one, for the choice
        shapes = (
            (each.k, each.m, each.w_stride),
            (each.k, each.tokens, each.x_stride),
            (each.m, each.tokens, each.residual_stride),
            (each.m, each.tokens, each.y_stride),
        )
        w, x, residual, y = (self._layout(kind, *shape) for shape in shapes)
        preference, found, count = c_void_p(), _Heuristic(), c_int()
        self._call("cublasLtMatmulPreferenceCreate", byref(preference))
        limit = c_size_t(WORKSPACE_BYTES)
        self._call("cublasLtMatmulPreferenceSetAttribute", preference, _MOST_WORKSPACE, byref(limit), c_size_t(8))
        allowed = c_uint32(_IN_FLOAT32)
        self._call("cublasLtMatmulPreferenceSetAttribute", preference, _REDUCTIONS, byref(allowed), c_size_t(4))
        alignment = c_uint32(each.alignment)
        for which in _ALIGNMENTS:
            self._call("cublasLtMatmulPreferenceSetAttribute", preference, which, byref(alignment), c_size_t(4))
        code = self._library.cublasLtMatmulAlgoGetHeuristic(
            *(self._handle, description, w, x, residual, y, preference, 1, byref(found), byref(count))
        )
        self._call("cublasLtMatmulPreferenceDestroy", preference)
        if code or not count.value or found.state:
            return None
        return _Plan(description, w, x, residual, y, found)

    def _layout(self, kind: int, rows: int, columns: int, stride: int) -> c_void_p:
        layout = c_void_p()
        self._call(
            "cublasLtMatrixLayoutCreate", byref(layout), kind, c_uint64(rows), c_uint64(columns), ctypes.c_int64(stride)
        )
        return layout

    def _set(self, description: c_void_p, attribute: int, value: c_int32 | c_void_p) -> None:
        size = c_size_t(ctypes.sizeof(value))
        self._call("cublasLtMatmulDescSetAttribute", description, attribute, byref(value), size)


@dataclass(frozen=True, slots=True)
class _Plan:
    description: c_void_p
    w: c_void_p
    x: c_void_p
    residual: c_void_p
    y: c_void_p
    found: _Heuristic
