"""widen_halves: a network of float16 or bfloat16 becomes one of float32 whose inputs and results stay what they are.

Before:
    func.func @main(%x: !torch.vtensor<[4,16],f16>) -> !torch.vtensor<[4,16],f16> {
      %y = torch.aten.relu %x : !torch.vtensor<[4,16],f16> -> !torch.vtensor<[4,16],f16>   return %y }
After:
    func.func @main(%x: !torch.vtensor<[4,16],f16>) -> !torch.vtensor<[4,16],f16> {
      %0 = torch.aten.to.dtype %x, 6 : ... -> !torch.vtensor<[4,16],f32>
      %1 = torch.aten.relu %0 : !torch.vtensor<[4,16],f32> -> !torch.vtensor<[4,16],f32>
      %2 = torch.aten.to.dtype %1, 5 : ... -> !torch.vtensor<[4,16],f16>   return %2 }

Passes after this one then see one kind of network; between steps numbers are rounded to 16 bits again (`narrow_buffers`), to the
network's own kind. Inside kernels they are float32, as in libraries.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.module import block_walk, function, main_block, replace
from sparsec.ir.torch_values import TorchBuilder, tensor_element
from sparsec.ir.weights import WEIGHT_OP, weight_name
from sparsec.passes.unit import Unit

_HALF = re.compile(r"(?<=[x,<])(f16|bf16)(?=>)")
_NUMBER = re.compile(r"0x[0-9A-F]+|[-+]?\d[\d.eE+-]*")
_CASTS = ("torch.aten.to.dtype", "torch.prims.convert_element_type", "torch.aten._to_copy")


def widen_halves(unit: Unit) -> None:
    """Widen every value of `@main`; what was half says what `unit.half` is."""
    main = function(unit.module, "main")
    found = _halves(main)
    if not found:
        return
    unit.half = "bf16" if "bf16" in found else "f16"
    unit.notes.append(f"a network of {' and '.join(sorted(found))}: products take {unit.half}, sums are float32")
    with unit.module.context, ir.Location.unknown():
        arguments = [argument for argument in main_block(unit.module).arguments if _half_of(argument)]
        results = [tensor_element(value) for value in _end(unit.module).operands]
        for op in list(block_walk(main)):
            _widen(op, unit)
        for argument in arguments:
            _widen_argument(argument, unit.module)
        for position, element in enumerate(results):
            _round_result(unit.module, position, element)
        for op in [item.operation for item in main_block(unit.module).operations]:
            if op.name in _CASTS and op.operands[0].type == op.results[0].type:
                replace(op, [op.operands[0]])


def _halves(main: ir.Operation) -> set[str]:
    values = [result for op in block_walk(main) for result in op.results]
    values += list(main.regions[0].blocks[0].arguments)
    return {match[1] for value in values if (match := _HALF.search(str(value.type)))}


def _half_of(value: ir.Value) -> bool:
    return _HALF.search(str(value.type)) is not None


def _widened(type_: ir.Type) -> ir.Type:
    return ir.Type.parse(_HALF.sub("f32", str(type_)), type_.context)


def _widen(op: ir.Operation, unit: Unit) -> None:
    """The results of an op, and what it holds."""
    halves = [result for result in op.results if _half_of(result)]
    if halves and op.name == WEIGHT_OP:
        name = weight_name(op)
        wide = unit.weights.add(f"{name}/wide", unit.weights.dense(name).astype(np.float32))
        op.attributes["sym_name"] = ir.StringAttr.get(wide)
    if halves and op.name == "torch.vtensor.literal":
        op.attributes["value"] = ir.DenseElementsAttr.get(_array(ir.DenseElementsAttr(op.attributes["value"])))
    for result in halves:
        result.set_type(_widened(result.type))


def _array(attribute: ir.DenseElementsAttr) -> NDArray[np.float32]:
    """The numbers of a constant; the bindings do not read bfloat16, so that is read as it is printed."""
    shape = tuple(ir.ShapedType(attribute.type).shape)
    if attribute.is_splat:
        return np.full(shape, attribute.get_splat_value().value, np.float32)
    if "bf16" not in str(attribute.type):
        return np.array(attribute).astype(np.float32)
    text = str(attribute).partition("<")[2].rpartition(">")[0].rpartition(">")[0]
    if text.startswith('"0x'):
        return _of_bits(np.frombuffer(bytes.fromhex(text.strip('"')[2:]), np.uint16)).reshape(shape)
    found = [_of_bits(int(each, 16)) if "x" in each else float(each) for each in _NUMBER.findall(text)]
    return np.array(found, np.float32).reshape(shape)


def _of_bits(bits: NDArray[np.uint16] | int) -> NDArray[np.float32]:
    """The numbers of bfloat16 with these bits."""
    return (np.asarray(bits, np.uint32) << np.uint32(16)).view(np.float32)


def _widen_argument(argument: ir.Value, module: ir.Module) -> None:
    """What reads an argument reads it widened."""
    uses = [(use.owner.operation, use.operand_number) for use in argument.uses]
    first = next(iter(main_block(module).operations)).operation
    wide = TorchBuilder(first).cast(argument, "f32")
    for op, position in uses:
        op.operands[position] = wide


def _round_result(module: ir.Module, position: int, element: str | None) -> None:
    end = _end(module)
    value = end.operands[position]
    if element in ("f16", "bf16") and tensor_element(value) == "f32":
        end.operands[position] = TorchBuilder(end).cast(value, element)


def _end(module: ir.Module) -> ir.Operation:
    *_, end = main_block(module).operations
    return end.operation
