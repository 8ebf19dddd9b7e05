"""Packages for several threads: the same bytes as one thread gives, what there is without shared memory, and errors."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.wasm_engines.browser import browser, find_chromium
from bench.wasm_engines.module import WasmModel
from sparsec.artifact import Plan
from sparsec.driver import compile_wasm
from sparsec.options import Options
from sparsec.targets import TARGETS, parallel
from sparsec.targets.wasm_link import link
from sparsec.targets.wasm_memory import PAGE
from sparsec.targets.wasm_module import HOSTS
from sparsec.web.demo import serve
from sparsec.web.package import package_files
from sparsec.whole_file import write_files
from tests.frontends.test_onnx_results import model_of
from tests.wasm.conftest import Node
from tests.wasm.layers import BLOCKS, DENSE, EMPTY, SPARSE, Conv, linear, linear_bytes

QUIET = Options("wasm32-threads", use_measurements=False)
MODELS = {
    "dense": lambda: linear(70, 257, 130, DENSE),
    "sparse": lambda: linear(67, 130, 513, SPARSE),
    "without weights": lambda: linear(33, 100, 1025, EMPTY),
    "one token": lambda: linear(1, 700, 1003, SPARSE),
    "bytes": lambda: linear_bytes(67, 130, 258, BLOCKS),
    "convolution": lambda: Conv(9, 70, (17, 31), (3, 3), padding=1).model(SPARSE),
    "depthwise": lambda: Conv(33, 33, (40, 33), (3, 3), stride=2, padding=1, groups=33).model(DENSE),
}
# Prints the threads that there are, and whether all outputs are those of the first number, twice.
SAME = """
import { load } from "./model.mjs";
import { readFileSync } from "node:fs";
const bytes = (value) => Buffer.from(value.buffer).toString("base64");
const found = [], kept = [];
for (const threads of [1, 2, 3, 5]) {
  const model = await load({ threads });
  const [{ name }] = model.inputs;
  const feed = new model.buffers.inputs[name].constructor(Uint8Array.from(readFileSync("feed.bin")).buffer);
  kept.push(model);
  for (let round = 0; round < 2; round++) found.push(Object.values(model.run({ [name]: feed })).map(bytes).join());
}
const [first] = found;
console.log(JSON.stringify({ threads: kept.map((model) => model.threads), same: found.every((each) => each === first), first }));
"""


def _package(folder: Path, model: onnx.ModelProto, options: Options = QUIET, *, inside: bool = True) -> Plan:
    plan, module = compile_wasm(model, options, weights_inside=inside)
    write_files(folder, package_files(plan, module, weights_inside=inside))
    return plan


def _feed(plan: Plan) -> np.ndarray:
    random, (spec, *_) = np.random.default_rng(0), plan.inputs
    if spec.dtype == "uint8":
        return random.integers(0, 256, spec.shape, np.uint8)
    return random.standard_normal(spec.shape).astype(spec.dtype)


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with steps that are worth several threads."""
    folder = tmp_path_factory.mktemp("parted")
    _package(folder, MODELS["sparse"]())
    return folder


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("target", ["wasm32", "wasm32-relaxed"])
def test_results_are_those_of_one_thread_to_the_bit(name: str, target: str, node: Node, tmp_path: Path) -> None:
    plan = _package(tmp_path, MODELS[name](), replace(QUIET, target=f"{target}-threads"))
    assert name == "without weights" or any(step.extent // step.grain > 1 for step in plan.steps)
    feed = _feed(plan)
    (tmp_path / "feed.bin").write_bytes(feed.tobytes())
    found = json.loads(node(SAME, tmp_path))
    assert (found["threads"], found["same"]) == ([1, 2, 3, 5], True)
    _, alone = compile_wasm(MODELS[name](), replace(QUIET, target=target))
    (expected,) = WasmModel(alone).run({plan.inputs[0].name: feed}).values()
    got = np.frombuffer(base64.b64decode(found["first"]), expected.dtype)
    np.testing.assert_array_equal(got, expected.reshape(-1))


def test_stored_halves_are_widened_once_before_all_threads(node: Node, tmp_path: Path) -> None:
    plan = _package(tmp_path, MODELS["sparse"](), replace(QUIET, storage="fp16"), inside=False)
    assert plan.pieces
    (tmp_path / "feed.bin").write_bytes(_feed(plan).tobytes())
    assert json.loads(node(SAME, tmp_path))["same"]


def test_a_check_that_fails_in_any_chunk_is_reported_and_the_next_run_is_clean(node: Node, tmp_path: Path) -> None:
    table, indices = np.arange(5000, dtype=np.float32).reshape(1000, 5), np.arange(1000)
    model, feeds = model_of("Gather", 18, [([table, indices], {"axis": 0}, 1)])
    plan = _package(tmp_path, model)
    (place,) = (spec.name for spec in plan.inputs if spec.dtype == "int64")
    (other,) = (spec.name for spec in plan.inputs if spec.dtype != "int64")
    script = f"""
import {{ load }} from "./model.mjs";
const model = await load({{ threads: 3 }});
const feeds = {{ {json.dumps(other)}: Float32Array.from({{ length: 5000 }}, (_, i) => i) }};
const indices = (wrong) => BigInt64Array.from({{ length: 1000 }}, (_, i) => BigInt(i === wrong ? 1000 : i));
for (const wrong of [-1, 999, 0, 500, -1]) {{
  feeds[{json.dumps(place)}] = indices(wrong);
  try {{
    console.log(Object.values(model.run(feeds))[0].every((value, i) => value === i));
  }} catch (error) {{
    console.log(error.name, error.message.includes("out of range"));
  }}
}}
"""
    printed = node(script, tmp_path).split("\n")
    assert printed[:5] == ["true", *["SparsecError true"] * 3, "true"]
    assert feeds[place].size == 1000


def test_profiles_name_the_steps_of_all_threads(node: Node, parted: Path) -> None:
    script = 'import { load } from "./model.mjs"; console.log((await load({ threads: 2 })).profile().map((step) => step.layer));'
    assert "layer" in node(script, parted)


@pytest.mark.parametrize(
    ("before", "threads"),
    [
        ("delete globalThis.SharedArrayBuffer;", 1),
        ("globalThis.crossOriginIsolated = false;", 1),
        (
            "const { Memory } = WebAssembly; WebAssembly.Memory = class extends Memory { constructor(given) {"
            "if (given.shared) throw new TypeError('Shared memory is not enabled'); super(given); } };"
            "globalThis.crossOriginIsolated = false;",
            1,
        ),
        ("", 2),
    ],
)
def test_a_page_that_is_not_isolated_computes_on_one_thread(
    before: str, threads: int, node: Node, parted: Path
) -> None:
    script = f"""
import {{ load }} from "./model.mjs";
const expected = (await load({{ threads: 3 }})).run({{ x: new Float32Array(67 * 130).fill(0.5) }}).y;
{before}
const model = await load({{ threads: 2 }});
const {{ y }} = model.run({{ x: new Float32Array(67 * 130).fill(0.5) }});
console.log(model.threads, y.every((value, i) => value === expected[i]));
"""
    assert node(script, parted).split() == [str(threads), "true"]


def test_a_module_that_is_compiled_already_keeps_its_memory(node: Node, parted: Path) -> None:
    script = """
import { readFile } from "node:fs/promises";
import { load } from "./model.mjs";
const wasm = await WebAssembly.compile(await readFile("model.wasm"));
const found = [];
for (const options of [{ wasm, threads: 1 }, { wasm, threads: 2 }, { threads: 1 }, { wasm: await readFile("model.wasm"), threads: 1 }]) {
  const model = await load(options);
  model.execute();
  found.push(model.buffers.outputs.y.buffer instanceof SharedArrayBuffer);
}
console.log(found.join());
"""
    assert node(script, parted).strip() == "true,true,false,false"


def test_a_script_on_the_command_line_has_threads(node: Node, parted: Path) -> None:
    """Its options for text are not those of the workers' file."""
    script = 'import { load } from "./model.mjs"; const model = await load({ threads: 2 }); console.log(model.threads); model.close();'
    run = f"""
import {{ execFileSync }} from "node:child_process";
const found = execFileSync(process.execPath, ["--input-type=module", "-e", {json.dumps(script)}], {{ cwd: import.meta.dirname }});
console.log(found.toString());
"""
    assert node(run, parted).strip() == "2"


def test_without_a_wish_there_are_as_many_threads_as_processors_but_eight(node: Node, parted: Path) -> None:
    script = """
import { load } from "./model.mjs";
import { availableParallelism } from "node:os";
console.log((await load()).threads === Math.min(availableParallelism(), 8));
"""
    assert node(script, parted).strip() == "true"


@pytest.mark.parametrize("wish", ["0", "65", "1.5", "-1", "'2'", "null", "NaN"])
def test_other_numbers_of_threads_are_refused(wish: str, node: Node, parted: Path) -> None:
    script = f"""
import {{ load, SparsecError }} from "./model.mjs";
await load({{ threads: {wish} }}).catch((error) => console.log(error instanceof SparsecError, error.message));
"""
    printed = node(script, parted)
    assert printed.startswith("true ")
    assert "from 1 to 64" in printed


def test_a_package_for_one_thread_says_how_to_get_more(node: Node, package: Path) -> None:
    script = """
import { load } from "./model.mjs";
console.log((await load({ threads: 1 })).threads);
await load({ threads: 2 }).catch((error) => console.log(error.message));
"""
    printed = node(script, package)
    assert printed.startswith("1\n")
    assert "--target wasm32-threads" in printed
    assert not (package / "threads.mjs").exists()


def test_a_package_has_the_scripts_of_its_threads(parted: Path) -> None:
    facts = json.loads((parted / "package.json").read_text())
    assert {"threads.mjs", "worker.mjs"} <= {*facts["files"]}
    assert facts["sideEffects"] == ["./worker.mjs"]
    assert all((parted / name).exists() for name in facts["files"])
    readme = (parted / "README.md").read_text()
    assert "Cross-Origin-Embedder-Policy" in readme
    assert "sparsec.memory" in readme


def test_a_closed_model_does_not_run(node: Node, parted: Path) -> None:
    """And its threads have ended, or the program would not."""
    script = """
import { load } from "./model.mjs";
for (const threads of [1, 3]) {
  const model = await load({ threads });
  model.execute();
  model.close();
  model.close();
  try { model.execute(); } catch (error) { console.log(error.name, error.message); }
}
"""
    assert node(script, parted).splitlines() == ["SparsecError The model is closed."] * 2


def test_threads_that_cannot_start_are_an_error(node: Node, parted: Path, tmp_path: Path) -> None:
    for file in parted.iterdir():
        if file.name not in ("worker.mjs", "feed.bin"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    script = 'import { load } from "./model.mjs"; await load({ threads: 2 }).catch((error) => console.log(error.name, error.message));'
    assert node(script, tmp_path).startswith("SparsecError The threads of the model could not be started.")


def test_a_trap_in_any_thread_ends_the_run(node: Node, parted: Path, tmp_path: Path) -> None:
    """And the next ones, instead of waiting for ever."""
    text = """
define void @part(i32 %number, i32 %chunk, i32 %chunks) {
  %mine = icmp ult i32 %chunk, 4
  br i1 %mine, label %good, label %bad
good:
  ret void
bad:
  call void @llvm.trap()
  ret void
}
declare void @llvm.trap()
declare void @share(i32, i32)
define i32 @run() {
  call void @share(i32 0, i32 8)
  ret i32 0
}"""
    code = parallel.emit_object(text, TARGETS[QUIET.target], ())
    module = link([code], stack_top=PAGE, constants=PAGE, exports=["part", "run"], shared=True, hosts=HOSTS)
    (tmp_path / "traps.wasm").write_bytes(module.content)
    (tmp_path / "threads.mjs").write_bytes((parted / "threads.mjs").read_bytes())
    (tmp_path / "worker.mjs").write_bytes((parted / "worker.mjs").read_bytes())
    (tmp_path / "model.mjs").write_bytes((parted / "model.mjs").read_bytes())
    script = f"""
import {{ readFileSync }} from "node:fs";
import {{ Team }} from "./threads.mjs";
const module = await WebAssembly.compile(readFileSync("traps.wasm"));
const team = new Team({{ pages: {module.pages}, stack: 65536 }}, 2, true);
const {{ exports }} = await WebAssembly.instantiate(module, team.imports);
team.begin(exports);
await team.start(module);
for (let round = 0; round < 3; round++) {{
  try {{ exports.run(); console.log("ran"); }} catch (error) {{ console.log(error.name); }}
}}
team.close();
"""
    assert node(script, tmp_path).split() == ["RuntimeError"] * 3


# How a page runs a function: itself, or in a worker, which may sleep until others are done.
IN_PAGE = "(run) => run(location.origin)"
IN_WORKER = """(run) => new Promise((resolve, reject) => {
  const source = `(${run})(${JSON.stringify(location.origin)}).then(postMessage)`;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
  Object.assign(worker, { onmessage: ({ data }) => resolve(data), onerror: reject });
})"""


@pytest.mark.parametrize(
    ("where", "isolated"),
    [(IN_PAGE, True), (IN_WORKER, True), (IN_PAGE, False)],
    ids=["page", "worker", "not isolated"],
)
def test_threads_in_a_browser_and_one_in_a_page_that_is_not_isolated(
    where: str, isolated: bool, parted: Path, tmp_path: Path
) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    (tmp_path / "index.html").write_text("<!doctype html><title>empty</title>")
    (tmp_path / "package").symlink_to(parted, target_is_directory=True)
    x = np.random.default_rng(1).standard_normal((67, 130)).astype(np.float32)
    script = f"""
({where})(async (origin) => {{
  const {{ load }} = await import(`${{origin}}/package/model.mjs`);
  const model = await load({{ threads: 3 }});
  const {{ y }} = model.run({{ x: Float32Array.from({json.dumps(x.reshape(-1).tolist())}) }});
  model.close();
  return [self.crossOriginIsolated, model.threads, Array.from(y)];
}})"""
    with serve(tmp_path, 0) if isolated else _usual_server(tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with browser(program, tmp_path / "profile") as chromium:
            chromium.open(f"http://127.0.0.1:{server.server_address[1]}/")
            found = chromium.evaluate(script)
        server.shutdown()
    assert isinstance(found, list)
    assert found[:2] == [isolated, 3 if isolated else 1]
    expected = WasmModel((parted / "model.wasm").read_bytes()).run({"x": x})["y"]
    np.testing.assert_array_equal(np.array(found[2], np.float32), expected.reshape(-1))


def _usual_server(folder: Path) -> ThreadingHTTPServer:
    """One that says nothing of isolation."""
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
