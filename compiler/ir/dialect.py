"""The `sparsec` dialect: the only ops of ours that live in the module beside the torch and upstream dialects.

`sparsec.weight` stands for a tensor whose bytes are in the `WeightStore` under the op's `sym_name`. The layer ops
`linear`, `conv`, `matmul` and `attention` are the contractions that our kernels compute. They appear in two forms, both printable
and re-readable:

- on tensors, from the torch dialect to linalg: `%y = "sparsec.conv"(%x, %w) {...} : (tensor<...>, tensor<...>) ->
tensor<...>`; - on elements, inside a `linalg.generic` with `library_call = "sparsec"`, once `fuse_epilogue` has run:
there `%sum = "sparsec.conv"(%x, %w) : (f32, f32) -> f32` stands for the finished sum and the rest of the body is the
epilogue.
"""

# No `from __future__ import annotations` here: `ext` reads the annotations as objects.
from typing import Optional

from torch_mlir.dialects import ext


class Sparsec(ext.Dialect, name="sparsec"):
    """The dialect; `context.make_context` loads it."""


class Weight(Sparsec.Operation, name="weight", traits=[ext.Pure]):
    """`%t = "sparsec.weight"() {sym_name = "conv1.weight"} : () -> tensor<8x3x3x3xf32>`.

    A memref after bufferisation.
    """

    out: ext.Result[ext.Any]


class Linear(Sparsec.Operation, name="linear", traits=[ext.Pure]):
    """y[..., m] = sum over k of x[..., k] w[m, k]; x any rank, w [outputs, inputs].

    Of f32 to f32; or of bytes to i32: x is unsigned then, w is signed, and y is the exact sum, without zero points.
    """

    x: ext.Operand[ext.Any]
    w: ext.Operand[ext.Any]
    out: ext.Result[ext.Any]


class Conv(Sparsec.Operation, name="conv", traits=[ext.Pure]):
    """Convolution of x [batch, channels, *sizes] with w [filters, channels / groups, *kernels], without bias.

    Attributes: `strides`, `dilations`, `before`, `after` (padding), one integer per spatial axis, and `groups`. Types as
    of `linear`; of bytes, `pad_value` is the unsigned byte that the padding holds (the zero point of x).
    """

    x: ext.Operand[ext.Any]
    w: ext.Operand[ext.Any]
    out: ext.Result[ext.Any]


class Matmul(Sparsec.Operation, name="matmul", traits=[ext.Pure]):
    """y[..., i, j] = sum over k of p[..., i, k] q[..., k, j] of two activations with equal batch axes, or a rank-2 one.

    With the unit attribute `transposed`, q is [..., j, k].
    """

    p: ext.Operand[ext.Any]
    q: ext.Operand[ext.Any]
    out: ext.Result[ext.Any]


class Attention(Sparsec.Operation, name="attention", traits=[ext.Pure]):
    """y = softmax(scale q k^T + mask) v over the last axis, of q [batch, heads, queries, size], k and v [batch, heads, keys, size].

    The mask, if there is one, is [batch, heads, queries, keys], where axes of 1 are shared. Attribute: `scale`.
    """

    q: ext.Operand[ext.Any]
    k: ext.Operand[ext.Any]
    v: ext.Operand[ext.Any]
    mask: Optional[ext.Operand[ext.Any]]  # noqa: UP045  `ext` does not read the other spelling
    out: ext.Result[ext.Any]


class Pool(Sparsec.Operation, name="pool", traits=[ext.Pure]):
    """The maximum of each window of x [batch, channels, *sizes]; what is outside x is less than every number.

    Attributes: `kernel`, and those of `conv` but `groups`.
    """

    x: ext.Operand[ext.Any]
    out: ext.Result[ext.Any]


class Held(Sparsec.Operation, name="held", traits=[ext.Pure]):
    """x itself, which upstream passes cannot see through (see `hold_tails`)."""

    x: ext.Operand[ext.Any]
    out: ext.Result[ext.Any]


POOL = "sparsec.pool"
LAYERS = ("sparsec.linear", "sparsec.conv", "sparsec.matmul", "sparsec.attention")
