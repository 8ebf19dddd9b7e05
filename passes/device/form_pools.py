"""form_pools: a maximum over windows becomes one layer.

Before:
    %y = torch.aten.max_pool2d %x, [3, 3], [2, 2], [1, 1], [1, 1], %false : [1,64,112,112] -> [1,64,56,56]
After:
    %0 = to_builtin %x   %1 = "sparsec.pool"(%0) {kernel = [3, 3], strides = [2, 2], before = [1, 1], ...}   %y = from_builtin %1

Upstream would write a larger image, with a frame of least numbers, and read that.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.dialect import POOL
from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import TorchBuilder, integer_list, tensor_element, tensor_shape
from sparsec.passes.split_pools import MAX_POOL
from sparsec.passes.unit import Unit

_RANK = 4  # of images


def form_pools(unit: Unit) -> None:
    """Form a layer of every such maximum of float32."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == MAX_POOL):
            x, y = tensor_shape(op.operands[0]), tensor_shape(op.results[0])
            lists = [integer_list(operand) for operand in list(op.operands)[1:5]]
            if x is None or y is None or len(x) != _RANK or tensor_element(op.operands[0]) != "f32":
                continue
            if all(each is not None for each in lists):
                with op.location:
                    _form(op, x[2:], y[2:], [tuple(each or ()) for each in lists])


def _form(op: ir.Operation, sizes: tuple[int, ...], outs: tuple[int, ...], lists: list[tuple[int, ...]]) -> None:
    kernel, steps, before, dilations = lists
    steps = steps or kernel
    reaches = [(count - 1) * apart + 1 for count, apart in zip(kernel, dilations, strict=True)]
    needed = [(out - 1) * step + reach for out, step, reach in zip(outs, steps, reaches, strict=True)]
    after = [max(0, length - size - pad) for length, size, pad in zip(needed, sizes, before, strict=True)]
    named = {"kernel": kernel, "strides": steps, "dilations": dilations, "before": before, "after": after}
    build, result = TorchBuilder(op), op.results[0]
    builtin = ir.RankedTensorType.get(tensor_shape(result) or (), ir.F32Type.get())
    attributes = {name: ir.DenseI64ArrayAttr.get(list(each)) for name, each in named.items()}
    pooled = build.create(POOL, [builtin], [build.to_builtin(op.operands[0])], attributes)
    replace(op, [build.from_builtin(pooled, result.type)])
