"""How each kind of a plan's steps is launched, given addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sparsec.artifact import Space
from sparsec.cuda.device.driver import Device, Function
from sparsec.cuda.device.memory import Workspace
from sparsec.cuda.device.tensors import View
from sparsec.cuda.network.plan import (
    Address,
    Attention,
    BatchedProduct,
    Convolution,
    Launch,
    Pool,
    Product,
    Step,
    Strided,
    Tail,
)
from sparsec.cuda.network.resident import Dense, Resident, Use, use_of
from sparsec.cuda.products import attention, dense_mma, pooling, product
from sparsec.cuda.products.attention import AttentionSizes, HeadRows, MaskRows
from sparsec.cuda.products.convolution import ConvolutionWeight
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.dense_mma import DenseSizes
from sparsec.cuda.products.dense_operands import Epilogue, Matrices
from sparsec.cuda.products.operands import Results, Rows
from sparsec.cuda.products.product import ACTIVATIONS, FIRST


@dataclass(frozen=True, slots=True)
class Places:
    """Where a plan's spaces lie in a device's memory."""

    arena: int
    constants: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def of(self, address: Address) -> int:
        """The address in the device's memory."""
        match address.space:
            case Space.ARENA:
                return self.arena + address.offset
            case Space.WEIGHTS:
                return self.constants + address.offset
            case Space.INPUT:
                return self.inputs[address.number] + address.offset
            case Space.OUTPUT:
                return self.outputs[address.number] + address.offset


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a plan's steps are launched with: functions of its PTX by name and shared memory, weights by their uses."""

    device: Device
    functions: Mapping[tuple[str, int], Function]
    weights: Mapping[Use, Resident]
    workspace: Workspace


def launch(step: Step, loaded: Loaded, places: Places, stream: int) -> None:
    """Put a step on a stream."""
    match step:
        case Launch():
            function = loaded.functions[step.function, step.shared_bytes]
            pointers = [places.of(each) for each in step.arguments]
            loaded.device.launch_on(function, step.grid, step.block, pointers, stream)
        case Product():
            _product(step, loaded, places, stream)
        case BatchedProduct():
            _batched(step, loaded, places, stream)
        case Attention():
            _attention(step, loaded, places, stream)
        case Convolution():
            _convolution(step, loaded, places, stream)
        case Pool():
            x, y = places.of(step.x), places.of(step.y)
            pooling.launch(loaded.device, step.dtype, step.batch, step.channels, step.axes, x, y, stream)


def _product(step: Product, loaded: Loaded, places: Places, stream: int) -> None:
    weight = loaded.weights[use_of(step)]
    if isinstance(weight, Dense):
        rows, out = dense_operands(step, weight.weight, places)
        tail = epilogue_of(step.tail, places)
        weight.weight.launch(rows, out, stream, epilogue=tail, kernel=weight.kernel)
        return
    assert not isinstance(weight, ConvolutionWeight)
    (m, k), x, y = weight.shape, places.of(step.x.address), places.of(step.y.address)
    given = View(x, loaded.device.index, weight.dtype, (step.tokens, k), (step.x.stride, 1))
    results = Results(y, step.y.stride, m, _bias(step.tail, places), ACTIVATIONS[step.tail.activation])
    added = step.tail.residual
    if added is not None:
        results = replace(
            results,
            activation=results.activation + FIRST * step.tail.residual_first,
            residual=places.of(added.address),
            residual_stride=added.stride,
        )
    product.launch(weight, loaded.workspace, given, results, stream)


def dense_operands(step: Product, weight: DenseWeight, places: Places) -> tuple[Rows, Matrices]:
    """x and y of a product, as kernels of dense products are told of them."""
    x = Rows(places.of(step.x.address), step.x.stride, step.tokens, weight.k)
    return x, Matrices(places.of(step.y.address), step.y.stride)


def _batched(step: BatchedProduct, loaded: Loaded, places: Places, stream: int) -> None:
    outer, inner = step.batch
    sizes = DenseSizes(step.rows, step.columns, step.inner, outer, inner)
    w = replace(step.q, rows=step.q.columns, columns=step.q.rows)  # [columns, inner]
    x, y = _matrices(step.p, places), _matrices(step.y, places)
    dense_mma.launch(
        loaded.device, step.dtype, sizes, x, _matrices(w, places), y, stream, epilogue=Epilogue(scale=step.scale)
    )


def _convolution(step: Convolution, loaded: Loaded, places: Places, stream: int) -> None:
    weight = loaded.weights[use_of(step)]
    assert isinstance(weight, ConvolutionWeight)
    x, y = places.of(step.x), places.of(step.y)
    weight.launch(step.batch, x, y, stream, epilogue=epilogue_of(step.tail, places))


def _attention(step: Attention, loaded: Loaded, places: Places, stream: int) -> None:
    sizes = AttentionSizes(step.batch, step.heads, step.key_heads, step.queries, step.keys, step.size)
    q, k, v, y = (
        HeadRows(places.of(each.address), each.batch, each.head, each.token)
        for each in (step.q, step.k, step.v, step.y)
    )
    mask, given = None, step.mask
    if given is not None:
        mask = MaskRows(places.of(given.address), given.batch, given.head, given.query, given.key)
    attention.launch(
        loaded.device, step.dtype, sizes, q, k, v, y, stream, scale=step.scale, mask=mask, causal=step.causal
    )


def _matrices(each: Strided, places: Places) -> Matrices:
    transposed = each.columns != 1
    return Matrices(places.of(each.address), each.columns if transposed else each.rows, transposed, *each.batch)


def epilogue_of(tail: Tail, places: Places) -> Epilogue:
    """What kernels of dense products are told of a tail."""
    residual = tail.residual
    added = Matrices(places.of(residual.address), residual.stride) if residual is not None else None
    return Epilogue(_bias(tail, places), ACTIVATIONS[tail.activation], added, residual_first=tail.residual_first)


def _bias(tail: Tail, places: Places) -> int:
    return places.of(tail.bias) if tail.bias else 0
