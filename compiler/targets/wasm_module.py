"""A planned network as one WebAssembly module: its memory, its kernels, and what runs them step by step.

Exports, all plain C: `memory`; `i32 run()`, which gives 0, or the number of the check that failed, counted from 1;
`i32 step(i32)`, the same for one step alone (for profiles); `i32 input(i32)`, `i32 output(i32)`, `i32 weights()`: addresses.
The custom section `sparsec` describes tensors, weights and steps in JSON.

For a target with threads the memory is the host's (see `wasm_memory`), and so is the dealing of steps: the module calls
`void threads.share(i32 step, i32 most)`, and the host calls the export `void part(i32 step, i32 chunk, i32 chunks)` for
each of as many chunks as it likes, `most` at most, in any order, in any of the module's instances.
"""

from __future__ import annotations

import json
import math
import zlib

from sparsec.artifact import JsonObject, JsonValue, Plan, TensorSpec
from sparsec.targets import parallel, wasm_binary, wasm_math
from sparsec.targets.target import Target
from sparsec.targets.wasm_layout import STACK_BYTES, Layout
from sparsec.targets.wasm_link import Module, link, undefined
from sparsec.targets.wasm_memory import Segment
from sparsec.targets.wasm_runner import PART, SHARE, runner

EXPORTS = ("run", "step", "input", "output", "weights")
HOSTS = {SHARE: "threads"}
SECTION = "sparsec"
MANIFEST_VERSION = 1


def emit_module(llvm_ir: str, target: Target, plan: Plan, *, weights_inside: bool, jobs: int | None = None) -> bytes:
    """Compile the kernels of a plan and link them; without `weights_inside`, memory is zero where weights belong.

    Raises `ToolchainError`; `UnsupportedOpError` for a function that WebAssembly has no code for.
    """
    layout, shared = Layout.of(plan), target.has_threads
    objects = parallel.emit_objects(llvm_ir, target, plan.kernels, jobs) if plan.kernels else []
    objects.append(parallel.emit_object(runner(plan, layout, shared=shared), target, ()))
    library = wasm_math.code(undefined(objects) - {SHARE})
    if library:
        objects.append(parallel.emit_object(library, target, ()))
    module = link(
        objects,
        stack_top=STACK_BYTES,
        constants=layout.end,
        exports=(*EXPORTS, PART) if shared else EXPORTS,
        segments=[Segment(layout.stored, plan.weights.tobytes())] if weights_inside else [],
        shared=shared,
        hosts=HOSTS,
    )
    manifest = _manifest(plan, layout, module, weights_inside=weights_inside)
    return module.content + wasm_binary.custom(SECTION, json.dumps(manifest).encode())


def _manifest(plan: Plan, layout: Layout, module: Module, *, weights_inside: bool) -> JsonObject:
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
        "memory": {"pages": module.pages, "stack": STACK_BYTES},
        "steps": [[step.kernel, step.layer] for step in plan.steps],
        "complaints": [[complaint.where, complaint.what] for complaint in plan.complaints],
    }


def _tensor(spec: TensorSpec, address: int) -> JsonObject:
    shape: JsonValue = [*spec.shape]
    return {"name": spec.name, "dtype": spec.dtype, "shape": shape, "size": math.prod(spec.shape), "address": address}
