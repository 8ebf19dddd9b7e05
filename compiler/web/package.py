"""The folder that `--emit wasm` writes: an npm package with one network in it, ready for `npm pack`.

model.wasm     code, and the weights unless they lie beside it in weights.bin
model.mjs      loads and runs it; an ES module without dependencies
model.d.mts    its types, with the names of this network's tensors
threads.mjs, worker.mjs    what more threads than one need, for targets that have them
package.json, README.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from sparsec.artifact import Plan, TensorSpec

_ARRAYS: Mapping[str, str] = {
    "float64": "Float64Array",
    "float32": "Float32Array",
    "float16": "Uint16Array",
    "bfloat16": "Uint16Array",
    "int64": "BigInt64Array",
    "uint64": "BigUint64Array",
    "int32": "Int32Array",
    "uint32": "Uint32Array",
    "int16": "Int16Array",
    "uint16": "Uint16Array",
    "int8": "Int8Array",
    "uint8": "Uint8Array",
    "bool": "Uint8Array",
}


def package_files(plan: Plan, module: bytes, *, weights_inside: bool) -> dict[str, bytes]:
    """The files of the package by name."""
    texts = {
        "model.mjs": _script(plan),
        **{name: _web(name) for name in _scripts_of_threads(plan)},
        "model.d.mts": _types(plan),
        "package.json": json.dumps(_package(plan, weights_inside=weights_inside), indent=2) + "\n",
        "README.md": _readme(plan, module, weights_inside=weights_inside),
    }
    binary = {"model.wasm": module} | ({} if weights_inside else {"weights.bin": plan.weights.tobytes()})
    return binary | {name: text.encode() for name, text in texts.items()}


def _web(name: str) -> str:
    return (files("sparsec.runtime") / "web" / name).read_text()


def _scripts_of_threads(plan: Plan) -> list[str]:
    return ["threads.mjs", "worker.mjs"] if "atomics" in plan.target.features else []


def _script(plan: Plan) -> str:
    source = _web("model.mjs").replace("/* sparsec: features */ []", json.dumps(list(plan.target.features)))
    if not _scripts_of_threads(plan):
        return source.replace(" // sparsec: threads", "")
    return source.replace(
        "const threading = null; // sparsec: threads", 'import * as threading from "./threads.mjs";\n'
    )


def _package(plan: Plan, *, weights_inside: bool) -> dict[str, object]:
    weights = [] if weights_inside else ["weights.bin"]
    scripts = _scripts_of_threads(plan)
    return {
        "name": f"sparsec-{_slug(plan.name)}",
        "version": "1.0.0",
        "description": f"The neural network {plan.name}, compiled to WebAssembly by sparsec",
        "type": "module",
        "main": "./model.mjs",
        "types": "./model.d.mts",
        "exports": {
            ".": {"types": "./model.d.mts", "default": "./model.mjs"},
            **{f"./{name}": f"./{name}" for name in ("model.wasm", *weights)},
        },
        "files": ["model.wasm", "model.mjs", "model.d.mts", *scripts, *weights],
        "engines": {"node": ">=21" if "relaxed-simd" in plan.target.features else ">=18"},
        "sideEffects": ["./worker.mjs"] if scripts else False,
    }


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "model"


def _types(plan: Plan) -> str:
    return (
        _web("model.d.mts")
        .replace("/* sparsec: inputs */", _members(plan.inputs))
        .replace("/* sparsec: outputs */", _members(plan.outputs))
    )


def _members(specs: Sequence[TensorSpec]) -> str:
    lines = [f"  /** {spec.dtype}[{', '.join(map(str, spec.shape))}] */\n  {_member(spec)}" for spec in specs]
    return "\n".join(lines).removeprefix("  ")


def _member(spec: TensorSpec) -> str:
    return f"{json.dumps(spec.name)}: {_ARRAYS[spec.dtype]};"


def _readme(plan: Plan, module: bytes, *, weights_inside: bool) -> str:
    feeds = ", ".join(_feed(spec) for spec in plan.inputs)
    results = ", ".join(f"{json.dumps(spec.name)}: {_variable(spec.name)}" for spec in plan.outputs)
    tensors = "\n".join(
        f"| {kind} | `{spec.name}` | {spec.dtype} | {list(spec.shape)} | `{_ARRAYS[spec.dtype]}` |"
        for kind, specs in (("input", plan.inputs), ("output", plan.outputs))
        for spec in specs
    )
    beside = "" if weights_inside else f" and weights.bin ({len(plan.weights):,} bytes), which `load` fetches"
    return f"""# {plan.name}

A neural network, compiled to WebAssembly by sparsec: model.wasm ({len(module):,} bytes){beside}.
Runs in browsers, Node and every engine that has {", ".join(plan.target.features)}. No dependencies.

```js
import {{ load }} from "./model.mjs";

const model = await load();
const {{ {results} }} = model.run({{ {feeds} }});
```

| | name | type | shape | array |
| --- | --- | --- | --- | --- |
{tensors}

Arrays are row-major. `load({{ onProgress: (loaded, total) => ... }})` tells how far weights beside the module have come;
`load({{ wasm, weights }})` takes a URL, bytes, or a response for either. `model.buffers` are the tensors in the
module's own memory: fill those of the inputs and call `model.execute()` to copy nothing. `model.profile()` gives
milliseconds per step.
{_about_threads(plan)}
Without JavaScript: the module exports `memory`, `i32 run()` (0, or the number of the check that failed),
`i32 input(i32)`, `i32 output(i32)` and `i32 weights()` (addresses); its custom section `sparsec` describes them in JSON.
{_about_hosts(plan)}"""


def _about_threads(plan: Plan) -> str:
    if not _scripts_of_threads(plan):
        return ""
    return """
`load({ threads: 4 })` computes on four threads; the results are the same to the bit. They need a page that is cross-origin
isolated, whose server sends `Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp` with
the page and with worker.mjs; on others, `model.threads` is 1. `model.close()` ends them. `run` waits until all is computed: in
a page, the thread that draws it cannot sleep meanwhile, and so is busy; where that matters, load the model in a worker.
"""


def _about_hosts(plan: Plan) -> str:
    if not _scripts_of_threads(plan):
        return ""
    return """It imports a shared `sparsec.memory` of as many pages as that JSON says, which its export `void initialise()` fills, and
`void threads.share(i32 step, i32 most)`, which has to call the export `void part(i32 step, i32 chunk, i32 chunks)` for each chunk.
"""


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", f"_{name}" if name[:1].isdigit() else name) or "output"


def _feed(spec: TensorSpec) -> str:
    return f"{json.dumps(spec.name)}: new {_ARRAYS[spec.dtype]}({' * '.join(map(str, spec.shape)) or 1})"
