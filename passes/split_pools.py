"""split_pools: a maximum over windows of two axes becomes one along each axis in turn.

Before:
    %y = torch.aten.max_pool2d %x, [3, 3], [2, 2], [1, 1], [1, 1], %false : [1,64,112,112] -> [1,64,56,56]
After:
    %v = torch.aten.max_pool2d %x, [3, 1], [2, 1], [1, 0], [1, 1], %false : [1,64,112,112] -> [1,64,56,112]
    %y = torch.aten.max_pool2d %v, [1, 3], [1, 2], [0, 1], [1, 1], %false : [1,64,56,112] -> [1,64,56,56]

That is 3 + 3 comparisons for each element where it was 9, and the first, along columns, reads whole vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import TorchBuilder, integer_list, tensor_element, tensor_shape, tensor_type
from sparsec.passes.unit import Unit

MAX_POOL = "torch.aten.max_pool2d"


def split_pools(unit: Unit) -> None:
    """Split every maximum over windows that are wider than one element on both axes."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == MAX_POOL):
            kernel, stride, padding, dilation = (integer_list(operand) for operand in list(op.operands)[1:5])
            if not kernel or stride is None or padding is None or dilation is None or min(kernel) == 1:
                continue
            lists = [kernel, stride or kernel, padding, dilation]
            if all(len(each) == len(kernel) == 2 for each in lists):
                _split(op, lists)


def _split(op: ir.Operation, lists: Sequence[tuple[int, ...]]) -> None:
    x, y, element = tensor_shape(op.operands[0]), tensor_shape(op.results[0]), tensor_element(op.results[0])
    if x is None or y is None or element is None:
        return
    build = TorchBuilder(op)
    neutral = (1, 1, 0, 1)  # kernel, stride, padding, dilation
    along_columns = [(each[0], unit) for each, unit in zip(lists, neutral, strict=True)]
    along_rows = [(unit, each[1]) for each, unit in zip(lists, neutral, strict=True)]
    ceil = op.operands[5]
    value = op.operands[0]
    for shape, numbers in (((*y[:-1], x[-1]), along_columns), (y, along_rows)):
        operands = [value, *(build.integers(each) for each in numbers), ceil]
        value = build.create(MAX_POOL, [tensor_type(shape, element, op.context)], operands)
    replace(op, [value])
