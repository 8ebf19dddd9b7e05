"""A planned network as one WebAssembly module: its memory, its kernels, and what runs them step by step.

    [ stack | weights | arena | inputs | outputs | stored weights | constants of the kernels ]
    0       STACK_BYTES                                                    all fixed before code is generated

Stored weights are only there if memory is made of them; see `wasm_half`.

Exports, all plain C: `memory`; `i32 run()`, which gives 0, or the number of the check that failed, counted from 1;
`i32 step(i32)`, the same for one step alone (for profiles); `i32 input(i32)`, `i32 output(i32)`, `i32 weights()`: addresses.
The custom section `sparsec` describes tensors, weights and steps in JSON.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from sparsec.artifact import WEIGHT_ALIGNMENT, Buffer, JsonObject, JsonValue, Plan, Space, TensorSpec
from sparsec.targets import abi, parallel, wasm_math
from sparsec.targets.target import Target
from sparsec.targets.wasm_half import widening
from sparsec.targets.wasm_link import Segment, link, undefined

STACK_BYTES = 1 << 20
EXPORTS = ("run", "step", "input", "output", "weights")
SECTION = "sparsec"
MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """Addresses; `end` is the first free one, `stored` where the weights are loaded to."""

    weights: int
    stored: int
    arena: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    end: int

    @classmethod
    def of(cls, plan: Plan) -> Layout:
        tensors = [max(spec.nbytes, 1) for spec in (*plan.inputs, *plan.outputs)]
        starts = [STACK_BYTES]
        for size in (plan.weight_bytes, plan.arena_bytes, *tensors, plan.weights.nbytes if plan.pieces else 0):
            starts.append(starts[-1] + -(-size // WEIGHT_ALIGNMENT) * WEIGHT_ALIGNMENT)
        weights, arena, *places, stored, end = starts
        count, source = len(plan.inputs), stored if plan.pieces else weights
        return cls(weights, source, arena, tuple(places[:count]), tuple(places[count:]), end)

    def address(self, buffer: Buffer) -> int:
        match buffer.space:
            case Space.INPUT:
                return self.inputs[buffer.position]
            case Space.OUTPUT:
                return self.outputs[buffer.position]
            case Space.WEIGHTS:
                return self.weights + buffer.position
            case Space.ARENA:
                return self.arena + buffer.position


def emit_module(llvm_ir: str, target: Target, plan: Plan, *, weights_inside: bool, jobs: int | None = None) -> bytes:
    """Compile the kernels of a plan and link them; without `weights_inside`, memory is zero where weights belong.

    Raises `ToolchainError`; `UnsupportedOpError` for a function that WebAssembly has no code for.
    """
    layout = Layout.of(plan)
    objects = parallel.emit_objects(llvm_ir, target, plan.kernels, jobs) if plan.kernels else []
    objects.append(parallel.emit_object(_runner(plan, layout), target, ()))
    library = wasm_math.code(undefined(objects))
    if library:
        objects.append(parallel.emit_object(library, target, ()))
    return link(
        objects,
        stack_top=STACK_BYTES,
        constants=layout.end,
        exports=EXPORTS,
        segments=[Segment(layout.stored, plan.weights.tobytes())] if weights_inside else [],
        sections={SECTION: json.dumps(_manifest(plan, layout, weights_inside=weights_inside)).encode()},
    )


def _runner(plan: Plan, layout: Layout) -> str:
    """LLVM IR of the exports.

    define i32 @step(i32 %number) {
      switch i32 %number, label %end [ i32 0, label %step0 ... ]
    step0:
      call void @entry_conv(ptr getelementptr (i8, ptr @arguments, i32 0), i64 0, i64 12)
      br label %end
      ...
    """
    places, steps, first = list[int](), list[str](), 0
    for number, step in enumerate(plan.steps):
        places += [layout.address(argument) for argument in step.args]
        entry, table = f'@"{abi.entry_symbol(step.kernel)}"', f"ptr getelementptr (i8, ptr @arguments, i32 {4 * first})"
        steps.append(f"step{number}:\n  call void {entry}({table}, i64 0, i64 {step.extent})\n  br label %end\n")
        first = len(places)
    declarations = [f'declare void @"{abi.entry_symbol(kernel)}"(ptr, i64, i64)' for kernel in plan.kernels]
    cases = " ".join(f"i32 {number}, label %step{number}" for number in range(len(plan.steps)))
    status = f"ptr inttoptr (i32 {layout.arena + (plan.status or 0)} to ptr)"
    checked = plan.status is not None
    return "\n".join(
        [
            _table("arguments", places),
            _table("inputs", layout.inputs),
            _table("outputs", layout.outputs),
            *declarations,
            widening(plan.pieces, layout.stored, layout.weights) if plan.pieces else "",
            "define i32 @step(i32 %number) noinline {",
            "  call void @widen()" if plan.pieces else "",
            f"  switch i32 %number, label %end [ {cases} ]",
            *steps,
            "end:",
            f"  %failed = load i32, {status}" if checked else "  %failed = add i32 0, 0",
            "  ret i32 %failed",
            "}",
            "define i32 @run() {",
            "start:",
            f"  store i64 0, {status}" if checked else "",
            "  br label %head",
            "head:",
            "  %number = phi i32 [ 0, %start ], [ %next, %body ]",
            f"  %more = icmp ult i32 %number, {len(plan.steps)}",
            "  br i1 %more, label %body, label %done",
            "body:",
            "  %failed = call i32 @step(i32 %number)",
            "  %next = add i32 %number, 1",
            "  %good = icmp eq i32 %failed, 0",
            "  br i1 %good, label %head, label %bad",
            "done:",
            "  ret i32 0",
            "bad:",
            "  ret i32 %failed",
            "}",
            _lookup("input", "inputs", len(layout.inputs)),
            _lookup("output", "outputs", len(layout.outputs)),
            f"define i32 @weights() {{\n  ret i32 {layout.stored}\n}}",
        ]
    )


def _table(name: str, values: Sequence[int]) -> str:
    numbers = ", ".join(f"i32 {value}" for value in values) or "i32 0"
    return f"@{name} = internal constant [{max(len(values), 1)} x i32] [{numbers}], align 8"


def _lookup(name: str, table: str, count: int) -> str:
    """A function from a number to an address; 0 for a number that is too large."""
    return f"""define i32 @{name}(i32 %number) {{
  %known = icmp ult i32 %number, {count}
  br i1 %known, label %found, label %none
found:
  %place = getelementptr i32, ptr @{table}, i32 %number
  %address = load i32, ptr %place
  ret i32 %address
none:
  ret i32 0
}}"""


def _manifest(plan: Plan, layout: Layout, *, weights_inside: bool) -> JsonObject:
    return {
        "format": "sparsec-wasm",
        "version": MANIFEST_VERSION,
        "name": plan.name,
        "target": plan.target.isa,
        "features": list(plan.target.features),
        "inputs": [_tensor(spec, at) for spec, at in zip(plan.inputs, layout.inputs, strict=True)],
        "outputs": [_tensor(spec, at) for spec, at in zip(plan.outputs, layout.outputs, strict=True)],
        "weights": {
            "address": layout.stored,
            "bytes": plan.weights.nbytes,
            "crc32": zlib.crc32(plan.weights.data),
            "inside": weights_inside,
        },
        "steps": [[step.kernel, step.layer] for step in plan.steps],
        "complaints": [[complaint.where, complaint.what] for complaint in plan.complaints],
    }


def _tensor(spec: TensorSpec, address: int) -> JsonObject:
    shape: JsonValue = [*spec.shape]
    return {"name": spec.name, "dtype": spec.dtype, "shape": shape, "size": math.prod(spec.shape), "address": address}
