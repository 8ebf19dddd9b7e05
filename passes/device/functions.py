"""Functions for GPUs, opened, filled and called; equal ones are one."""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir
from torch_mlir.dialects import memref

ALIGNMENT = 16  # bytes, of every buffer that a function is given
_SHARED_SPACE = 3  # LLVM's number for it
SHARED = 32  # one for each warp of the largest block


class Functions:
    """Functions of a module whose names begin with a stem; each takes buffers."""

    def __init__(self, module: ir.Module, stem: str) -> None:
        self._module, self._stem = module, stem
        self._known: dict[str, str] = {}  # text without the name -> name
        self._shared: list[str] = []
        self._made = 0

    def open(self, types: Sequence[ir.Type]) -> tuple[ir.Operation, ir.Block]:
        """A new function of such arguments, and its block, which ends in a return."""
        name = f"{self._stem}_{self._made}"
        self._made += 1
        marks = {
            "llvm.noalias": ir.UnitAttr.get(),
            "llvm.align": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), ALIGNMENT),
        }
        function = ir.Operation.create(
            "func.func",
            attributes={
                "sym_name": ir.StringAttr.get(name),
                "sym_visibility": ir.StringAttr.get("private"),
                "function_type": ir.TypeAttr.get(ir.FunctionType.get(list(types), [])),
                "arg_attrs": ir.ArrayAttr.get([ir.DictAttr.get(marks)] * len(types)),
            },
            regions=1,
            ip=ir.InsertionPoint.at_block_begin(self._module.body),
        )
        block = function.regions[0].blocks.append(*types, arg_locs=[ir.Location.unknown()] * len(types))
        ir.Operation.create("func.return", ip=ir.InsertionPoint(block))
        return function, block

    def shared(self, number: int) -> ir.Value:
        """A buffer of `SHARED` float32 in shared memory, which all functions call by the same number."""
        name, kind = (
            f"{self._stem}_shared_{number}",
            ir.MemRefType.get(
                [SHARED],
                ir.F32Type.get(),
                memory_space=ir.IntegerAttr.get(ir.IntegerType.get_signless(64), _SHARED_SPACE),
            ),
        )
        if number == len(self._shared):
            self._shared.append(name)
            ir.Operation.create(
                "memref.global",
                attributes={
                    "sym_name": ir.StringAttr.get(name),
                    "sym_visibility": ir.StringAttr.get("private"),
                    "type": ir.TypeAttr.get(kind),
                    "initial_value": ir.UnitAttr.get(),
                },
                ip=ir.InsertionPoint.at_block_begin(self._module.body),
            )
        return memref.get_global(kind, name)

    def call(
        self,
        function: ir.Operation,
        operands: Sequence[ir.Value],
        attributes: dict[str, ir.Attribute],
        ip: ir.InsertionPoint,
    ) -> ir.Operation:
        """Call a finished function, or an equal one that is known already."""
        name = ir.StringAttr(function.attributes["sym_name"]).value
        text = function.get_asm(use_local_scope=True).replace(f"@{name}(", "@(", 1)
        known = self._known.setdefault(text, name)
        if known != name:
            function.erase()
        return ir.Operation.create(
            "func.call",
            operands=list(operands),
            attributes={**attributes, "callee": ir.FlatSymbolRefAttr.get(known)},
            ip=ip,
        )
