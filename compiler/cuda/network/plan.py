"""A whole network on a GPU: what the compiler hands to the runtime, which adds addresses and the GPU at hand.

Steps run in order on one stream. A step is a launch of a function of the plan's own PTX, or a product that this package has
kernels for. Weights of products stay as they are in the network, because how they are laid out on a GPU depends on that GPU.
Everything here is data, and needs NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact import Complaint, JsonObject, Space, TensorSpec
from sparsec.cuda.streams.zeros import Zeros
from sparsec.kernels.problem import Axis

if TYPE_CHECKING:
    from sparsec.cuda.products.product import Activation
    from sparsec.cuda.products.weights import Pattern

ALIGNMENT = 256
"""Bytes at whose multiples the arena and the constants begin; inputs and outputs begin at multiples of 16."""

Half: TypeAlias = Literal["float16", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Address:
    """A place in memory: `offset` bytes into the arena, the constants (`Space.WEIGHTS`), or input or output `number`."""

    space: Space
    offset: int
    number: int = 0


@dataclass(frozen=True, slots=True)
class Launch:
    """A function of the plan's PTX; its parameters are the addresses, one 64-bit pointer each, in this order."""

    function: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int  # of dynamic shared memory
    arguments: tuple[Address, ...]
    layer: str


@dataclass(frozen=True, slots=True)
class Tail:
    """What is done to float32 sums before they are rounded to what is stored, once.

    `bias` is float32, one for each output feature or filter, without gaps. `residual` has the type and, but for its own
    strides, the shape of y. Without `residual_first`, y = activation(sum + bias) + residual; with it, y =
    activation(sum + bias + residual).
    """

    bias: Address | None = None
    activation: Activation | None = None
    residual: Rows | None = None
    residual_first: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Rows:
    """A matrix whose rows have no gaps inside, `stride` elements from one row to the next."""

    address: Address
    stride: int


@dataclass(frozen=True, slots=True)
class Product:
    """y [tokens, m] = tail(x [tokens, k] times the transpose of weight number `weight` [m, k])."""

    weight: int
    tokens: int
    x: Rows
    y: Rows
    tail: Tail
    layer: str


@dataclass(frozen=True, slots=True)
class Strided:
    """Matrices [rows, columns] of a batch with two axes; all strides in elements, 0 where the batch shares a matrix."""

    address: Address
    batch: tuple[int, int]
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class BatchedProduct:
    """y [rows, columns] = scale * p [rows, inner] q [inner, columns], for each of `batch`; one rounding, of float32 sums.

    Of p and of q, either the stride of rows or that of columns is 1; y's stride of columns is 1.
    """

    batch: tuple[int, int]
    rows: int
    inner: int
    columns: int
    p: Strided
    q: Strided
    y: Strided
    scale: float
    dtype: Half
    layer: str


@dataclass(frozen=True, slots=True)
class Heads:
    """q, k, v or y of attention [batch, heads, tokens, size]: strides in elements; elements of one head have no gaps."""

    address: Address
    batch: int
    head: int
    token: int


@dataclass(frozen=True, slots=True)
class Mask:
    """float32 [batch, heads, queries, keys], added to scaled products; strides in elements, 0 for a shared axis."""

    address: Address
    batch: int
    head: int
    query: int
    key: int


@dataclass(frozen=True, slots=True)
class Attention:
    """y = softmax(scale * q k^T + mask) v, for each of `batch` and `heads`; statistics and sums are float32.

    With `causal`, query i meets keys 0 ... i + keys - queries only. Heads of k and v are each shared by heads /
    `key_heads` neighbouring heads of q.
    """

    batch: int
    heads: int
    key_heads: int
    queries: int
    keys: int
    size: int
    q: Heads
    k: Heads
    v: Heads
    y: Heads
    mask: Mask | None
    scale: float
    causal: bool
    dtype: Half
    layer: str


@dataclass(frozen=True, slots=True)
class Convolution:
    """y = tail(convolution of x with weight number `weight` [filters, channels / groups, kernel height, kernel width]).

    x is [batch, channels, height, width]; its channels lie together, and images, rows and pixels are `strides` elements
    apart. y has channels last, without gaps. One axis only has a first axis of length 1. The stride of the tail's residual
    has no meaning: it is laid out like y.
    """

    weight: int
    batch: int
    channels: int
    filters: int
    groups: int
    axes: tuple[Axis, Axis]
    strides: tuple[int, int, int]
    x: Address
    y: Address
    tail: Tail
    layer: str


@dataclass(frozen=True, slots=True)
class Pool:
    """y = the maximum of each window of x [batch, channels, height, width], of 16 bits; both with channels last, without gaps."""

    batch: int
    channels: int
    axes: tuple[Axis, Axis]
    x: Address
    y: Address
    dtype: Half
    layer: str


Step: TypeAlias = Launch | Product | BatchedProduct | Attention | Convolution | Pool


@dataclass(frozen=True, slots=True, eq=False)
class DeviceWeight:
    """A weight of products: nonzeros and a bitmap of where they are, or all elements.

    `values` are the bits of float16 or bfloat16, row by row; with a `bitmap` (one bit an element, row by row, the lowest
    bit of a byte first) those that are not zero only. `pattern` is what was chosen for another GPU, None for a dense
    product; `zeros` are what it is chosen by, of a matrix.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Half
    pattern: Pattern | None
    values: NDArray[np.uint16] = field(repr=False)
    bitmap: NDArray[np.uint8] | None = field(default=None, repr=False)
    zeros: Zeros | None = None

    @classmethod
    def of(cls, name: str, bits: NDArray[np.uint16], dtype: Half, pattern: Pattern | None) -> DeviceWeight:
        """Keep it in the fewer bytes; minus zero counts as zero, which changes nothing but the sign of a zero."""
        zeros = Zeros.of(bits) if bits.ndim == 2 else None
        kept = bits << 1 != 0
        values = bits[kept]
        if 2 * values.size + -(-bits.size // 8) < 2 * bits.size:
            return cls(name, bits.shape, dtype, pattern, values, np.packbits(kept, bitorder="little"), zeros)
        return cls(name, bits.shape, dtype, pattern, np.ascontiguousarray(bits).reshape(-1), None, zeros)

    @property
    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """What it is kept in."""
        return (self.values,) if self.bitmap is None else (self.values, self.bitmap)

    def bits(self) -> NDArray[np.uint16]:
        """All elements, in the weight's shape."""
        if self.bitmap is None:
            return self.values.reshape(self.shape)
        kept = np.unpackbits(self.bitmap, bitorder="little")[: int(np.prod(self.shape))].astype(bool)
        dense = np.zeros(kept.size, np.uint16)
        dense[kept] = self.values
        return dense.reshape(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class DevicePlan:
    """A compiled network for GPUs of compute capability `architecture` and later, for one set of shapes.

    Plans for several shapes have the same `weights` and `constants`.
    `inputs` and `outputs` are the model's own tensors, without gaps. `constants` lie in device memory from the load on;
    products' weights are not among them. `status` is the arena offset of an int64 that is zero before a run: a check of
    the network that fails stores its number plus one there, and `complaints` has a sentence for each number. None, for a
    network without checks.
    """

    name: str
    precision: Half
    architecture: tuple[int, int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    arena_bytes: int
    steps: tuple[Step, ...]
    weights: tuple[DeviceWeight, ...]
    constants: NDArray[np.uint8] = field(repr=False)
    ptx: str = field(repr=False)
    report: JsonObject = field(repr=False)
    status: int | None = None
    complaints: tuple[Complaint, ...] = ()
