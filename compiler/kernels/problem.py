"""What a kernel is asked to compute: shapes and arithmetic only, no data and no IR.

Every layer is one of three contractions, or attention. Shape letters: `m` outputs (filters), `k` reduction, `n` pixels or tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsec.kernels.arithmetic import F32, Arithmetic


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a convolution; lengths in elements, `before`/`after` are the zero padding at its two ends."""

    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def out(self) -> int:
        """Output length (ONNX Conv, floor mode)."""
        return (self.size + self.before + self.after - self.dilation * (self.kernel - 1) - 1) // self.stride + 1


@dataclass(frozen=True, slots=True)
class ConvProblem:
    """y[b, f, o] = sum over c, t of w[f, c, t] * x[b, group(f) * channels / groups + c, o * stride + t * dilation - before].

    Samples that x does not have are `pad_value`. x is [batch, channels, *sizes], w is [filters, channels / groups, *kernels],
    y is [batch, filters, *outs]; all row-major.
    """

    batch: int
    channels: int
    filters: int
    groups: int
    axes: tuple[Axis, ...]
    arithmetic: Arithmetic = F32
    pad_value: int = 0

    @property
    def pixels(self) -> int:
        return math.prod(axis.out for axis in self.axes)

    @property
    def taps(self) -> int:
        return math.prod(axis.kernel for axis in self.axes)

    @property
    def reduction(self) -> int:
        """k: products per output element of the dense computation."""
        return self.channels // self.groups * self.taps

    @property
    def pointwise(self) -> bool:
        """True if each output pixel reads exactly the input pixel at the same place."""
        return all((a.kernel, a.stride, a.before, a.after) == (1, 1, 0, 0) for a in self.axes)

    @property
    def depthwise(self) -> bool:
        return self.groups == self.channels > 1


@dataclass(frozen=True, slots=True)
class LinearProblem:
    """y[n, m] = sum over k of x[n, k] * w[m, k]; x is token-major [tokens, inputs], w is [outputs, inputs]."""

    tokens: int
    inputs: int
    outputs: int
    arithmetic: Arithmetic = F32


@dataclass(frozen=True, slots=True)
class Lines:
    """Where lines of a matrix begin, in elements: from one to the next, and from one matrix of a batch to the next."""

    line: int
    matrix: int


@dataclass(frozen=True, slots=True)
class MatmulProblem:
    """y[b, i, j] = sum over k of p[b, i, k] * q[b, k, j] of two activations.

    `transposed` says that q is stored as [b, j, k]. A `shared_left`/`shared_right` operand has no batch axis.
    Of bytes, p and q are unsigned, and count from their `zeros`. `left` and `right` say where lines of p and q lie,
    if not behind each other.
    """

    batch: int
    rows: int
    inner: int
    columns: int
    transposed: bool = False
    shared_left: bool = False
    shared_right: bool = False
    arithmetic: Arithmetic = F32
    zeros: tuple[int, int] = (0, 0)
    left: Lines | None = None
    right: Lines | None = None

    @property
    def left_lines(self) -> Lines:
        """Where lines of p lie."""
        return self.left or Lines(self.inner, 0 if self.shared_left else self.rows * self.inner)

    @property
    def right_lines(self) -> Lines:
        """Where lines of q lie, as it is stored."""
        line = self.inner if self.transposed else self.columns
        return self.right or Lines(line, 0 if self.shared_right else self.inner * self.columns)


@dataclass(frozen=True, slots=True)
class AttentionProblem:
    """y[b, h, i] = sum over j of p[b, h, i, j] v[b, h, j], p = softmax over j of (scale * q[b, h, i] k[b, h, j] + mask).

    q is [batch, heads, queries, size], k and v are [batch, heads, keys, size]. `mask` is the shape of what is added, None
    for nothing: of [batch, heads, queries, keys], any may be 1. `apart` says where lines of q, k, v and y lie, if not
    behind each other.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    size: int
    scale: float = 1.0
    mask: tuple[int, int, int, int] | None = None
    apart: tuple[Lines | None, Lines | None, Lines | None, Lines | None] = (None, None, None, None)
    arithmetic: Arithmetic = F32

    @property
    def matrices(self) -> int:
        """Heads of all of the batch."""
        return self.batch * self.heads

    def elements(self, operand: str) -> int:
        """Of "q", "k", "v", "mask", or of "y"."""
        if operand == "mask":
            return math.prod(self.mask or (0,))
        return self.matrices * (self.queries if operand in "qy" else self.keys) * self.size

    def lines(self, operand: str) -> Lines:
        """Where lines of "q", "k", "v" or "y" lie."""
        behind = Lines(self.size, (self.queries if operand in "qy" else self.keys) * self.size)
        return self.apart["qkvy".index(operand)] or behind

    @property
    def mask_steps(self) -> tuple[int, int, int, int]:
        """Elements of the mask from one of the batch to the next, one head, one query and one key; 0 where they share it."""
        batch, heads, queries, keys = self.mask or (1, 1, 1, 1)
        steps = (heads * queries * keys, queries * keys, keys, 1)
        first, second, third, last = (
            step if size > 1 else 0 for step, size in zip(steps, (batch, heads, queries, keys), strict=True)
        )
        return first, second, third, last

    @property
    def tag(self) -> str:
        """Short text for names of functions, different for different problems."""
        apart = (f"{name}{each.line}-{each.matrix}" for name, each in zip("qkvy", self.apart, strict=True) if each)
        mask = ("m" + "x".join(map(str, self.mask)),) if self.mask is not None else ()
        sizes = f"{self.batch}x{self.heads}x{self.queries}x{self.keys}x{self.size}"
        return "_".join((sizes, *mask, *apart))


Problem = ConvProblem | LinearProblem | MatmulProblem | AttentionProblem


def dense_products(problem: Problem) -> int:
    """Multiply-adds of the dense computation (2 flops each)."""
    match problem:
        case ConvProblem():
            return problem.batch * problem.filters * problem.pixels * problem.reduction
        case LinearProblem():
            return problem.tokens * problem.inputs * problem.outputs
        case MatmulProblem():
            return problem.batch * problem.rows * problem.inner * problem.columns
        case AttentionProblem():
            return 2 * problem.matrices * problem.queries * problem.keys * problem.size
