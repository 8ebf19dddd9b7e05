"""repeat_samples: what `split_batch` made of a batch is done for one sample after the other.

Before:
    func.func @main(%x: tensor<1x8xf32>) -> tensor<1x3xf32> attributes {samples = 2 : i64} { %y = ... ins(%x)   return %y }
After:
    func.func @main(%x: tensor<2x8xf32>) -> tensor<2x3xf32> {
      %x0 = tensor.extract_slice %x[0, 0] [1, 8] [1, 1] ...   %y0 = ... ins(%x0)   %r0 = tensor.insert_slice %y0 into %r[0, 0] ...
      %x1 = tensor.extract_slice %x[1, 0] [1, 8] [1, 1] ...   %y1 = ... ins(%x1)   %r1 = tensor.insert_slice %y1 into %r0[1, 0] ...
      return %r1
    }

Kernels and packed weights stay as they are. The buffers of a sample are free when its turn ends: the next one's get the same
places, which are in a cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch_mlir import ir

from sparsec.ir.module import function, main_block, shape_of
from sparsec.passes.split_batch import SAMPLES, resized, restate
from sparsec.passes.unit import Unit


def repeat_samples(unit: Unit) -> None:
    """Give each of the samples of `@main` its turn."""
    main = function(unit.module, "main")
    if SAMPLES not in main.attributes:
        return
    count = ir.IntegerAttr(main.attributes[SAMPLES]).value
    with unit.module.context, ir.Location.unknown():
        block = main_block(unit.module)
        *_, last = block.operations
        end, repeated = last.operation, _repeated(block)
        for argument in block.arguments:
            argument.set_type(resized(argument, count))
        wholes = [_empty(resized(value, count * shape_of(value)[0]), end) for value in end.operands]
        for sample in range(count):
            values = _turn(repeated, {each: _slice(each, sample, end) for each in block.arguments}, end)
            wholes = [
                _put(values[value], whole, sample, end) for value, whole in zip(end.operands, wholes, strict=True)
            ]
        for place, whole in enumerate(wholes):
            end.operands[place] = whole
        for op in reversed(repeated):
            if not any(list(result.uses) for result in op.results):
                op.erase()
        restate(unit.module)
        del main.attributes[SAMPLES]
    for name, report in unit.layers.items():
        unit.layers[name] = replace(report, predicted_ns=count * report.predicted_ns)
    unit.notes.append(f"the {count} samples of a batch are computed one after the other, to stay in caches")


def _repeated(block: ir.Block) -> list[ir.Operation]:
    """What depends on the inputs, and the tensors that it writes to."""
    found, known = list[ir.Operation](), set[ir.Value](block.arguments)
    for op in [item.operation for item in block.operations][:-1]:
        if op.name == "tensor.empty" or not known.isdisjoint(op.operands):
            found.append(op)
            known.update(op.results)
    return found


def _turn(
    ops: Sequence[ir.Operation], inputs: Mapping[ir.Value, ir.Value], end: ir.Operation
) -> dict[ir.Value, ir.Value]:
    """Copy the ops of a sample in front of `end`; returns what stands for each value."""
    values = dict(inputs)
    for op in ops:
        copy = op.clone(ir.InsertionPoint(end))
        for place, operand in enumerate(op.operands):
            copy.operands[place] = values.get(operand, operand)
        values.update(zip(op.results, copy.results, strict=True))
    return values


def _empty(kind: ir.Type, end: ir.Operation) -> ir.Value:
    return ir.Operation.create("tensor.empty", results=[kind], ip=ir.InsertionPoint(end)).results[0]


def _slice(whole: ir.Value, sample: int, end: ir.Operation) -> ir.Value:
    """One sample of an input."""
    return _access("tensor.extract_slice", [whole], sample, [1, *shape_of(whole)[1:]], resized(whole, 1), end)


def _put(part: ir.Value, whole: ir.Value, sample: int, end: ir.Operation) -> ir.Value:
    """A result with one sample replaced."""
    shape = shape_of(part)
    return _access("tensor.insert_slice", [part, whole], sample * shape[0], shape, whole.type, end)


def _access(
    name: str, operands: Sequence[ir.Value], first: int, sizes: Sequence[int], result: ir.Type, end: ir.Operation
) -> ir.Value:
    attributes: dict[str, ir.Attribute] = {
        "static_offsets": ir.DenseI64ArrayAttr.get([first, *[0] * (len(sizes) - 1)]),
        "static_sizes": ir.DenseI64ArrayAttr.get(sizes),
        "static_strides": ir.DenseI64ArrayAttr.get([1] * len(sizes)),
        "operandSegmentSizes": ir.DenseI32ArrayAttr.get([*[1] * len(operands), 0, 0, 0]),
    }
    op = ir.Operation.create(
        name, results=[result], operands=operands, attributes=attributes, ip=ir.InsertionPoint(end)
    )
    return op.results[0]
