"""The npm package in Node: results, files, and what its errors say."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from bench.wasm_engines.module import WasmModel
from sparsec.driver import compile_wasm
from sparsec.options import Options
from sparsec.web.package import package_files
from sparsec.whole_file import write_files
from tests.tune.models import two_layers
from tests.wasm.conftest import Node

LANDMARKS = Path(__file__).parents[2] / "bench" / "models" / "handlandmark.onnx.gz"
RUN = """
import { readFile, writeFile } from "node:fs/promises";
import { load } from "./model.mjs";
const model = await load();
const feeds = {};
for (const { name } of model.inputs) feeds[name] = new Float32Array(Uint8Array.from(await readFile("feed.bin")).buffer);
for (const [name, value] of Object.entries(model.run(feeds))) await writeFile(`${name}.out`, value);
"""


def run(node: Node, folder: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of a network with one input."""
    (folder / "feed.bin").write_bytes(x.tobytes())
    node(RUN, folder)
    return {file.stem: np.frombuffer(file.read_bytes(), np.float32) for file in folder.glob("*.out")}


def features(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_results_are_those_of_onnx_runtime(node: Node, package: Path) -> None:
    x = features(32, 24)
    (expected,) = onnxruntime.InferenceSession(two_layers().SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(run(node, package, x)["y"].reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)


def test_weights_beside_the_module_come_with_progress(node: Node, package: Path) -> None:
    seen = json.loads(
        node(
            "import { load } from './model.mjs'; const seen = [];"
            "await load({ onProgress: (loaded, total) => seen.push([loaded, total]) }); console.log(JSON.stringify(seen));",
            package,
        )
    )
    weights = package / "weights.bin"
    assert seen == ([[weights.stat().st_size] * 2] if weights.exists() else [])


def test_tensors_can_be_filled_and_read_in_place(node: Node, package: Path) -> None:
    script = """
import { load } from "./model.mjs";
const model = await load();
model.buffers.inputs.x.fill(0.5);
model.execute();
const copied = model.run({ x: new Float32Array(32 * 24).fill(0.5) });
const names = new Set(model.profile().map((step) => step.layer));
console.log(model.buffers.outputs.y.every((value, i) => value === copied.y[i]), names.has("second"));
"""
    assert node(script, package).split() == ["true", "true"]


@pytest.mark.parametrize(
    ("feeds", "expected"),
    [
        ("{}", ["input x is missing", "Float32Array of 768 elements, float32[32, 24]", "got: nothing"]),
        ("{ x: new Float64Array(768) }", ["no Float32Array", "got: Float64Array"]),
        ("{ x: [1, 2] }", ["no Float32Array", "got: Array"]),
        ("{ x: null }", ["no Float32Array", "got: null"]),
        ("{ x: new Float32Array(7) }", ["wrong size", "got: 7 elements"]),
        ("{ x: new Float32Array(768), z: 1 }", ["no such input", "expected: x", "got: z"]),
    ],
)
def test_errors_say_what_was_expected_and_got(node: Node, package: Path, feeds: str, expected: list[str]) -> None:
    script = f"""
import {{ load, SparsecError }} from "./model.mjs";
const model = await load();
try {{ model.run({feeds}); }} catch (error) {{ console.log(error instanceof SparsecError, error.message); }}
"""
    printed = node(script, package)
    assert printed.startswith("true ")
    assert all(part in printed for part in expected), printed


def test_damaged_weights_are_refused(node: Node, package: Path) -> None:
    script = """
import { load } from "./model.mjs";
import { readFile } from "node:fs/promises";
const whole = Uint8Array.from(await readFile("weights.bin"));
const damaged = whole.slice();
damaged[5] ^= 1;
for (const weights of [whole.subarray(1), damaged, whole])
  console.log(await load({ weights }).then(() => "loaded", (error) => error.what));
"""
    if not (package / "weights.bin").exists():
        pytest.skip("this package has its weights inside")
    assert [line.split(",")[0] for line in node(script, package).splitlines()] == [
        "The weights have the wrong size.",
        "The weights are damaged",
        "loaded",
    ]


def test_npm_packs_what_is_needed_and_no_more(package: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm here: apt-get install npm")
    done = subprocess.run(
        [npm, "pack", "--dry-run", "--json", "--offline"], cwd=package, capture_output=True, text=True, check=True
    )
    (facts,) = json.loads(done.stdout)
    needed = {"model.wasm", "model.mjs", "model.d.mts", "package.json", "README.md"}
    beside = {"weights.bin"} & {each.name for each in package.iterdir()}
    assert {each["path"] for each in facts["files"]} == needed | beside


def test_types_name_the_tensors_of_the_network(package: Path) -> None:
    text = (package / "model.d.mts").read_text()
    assert '/** float32[32, 24] */\n  "x": Float32Array;' in text
    assert '/** float32[32, 20] */\n  "y": Float32Array;' in text


def test_the_types_are_those_that_typescript_finds(package: Path, tmp_path: Path) -> None:
    """By the file's path and by the package's name; and they refuse what is wrong."""
    tsc = shutil.which("tsc")
    if tsc is None:
        pytest.skip("there is no TypeScript here: npm install --global typescript")
    (name,) = [json.loads((package / "package.json").read_text())["name"]]
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / name).symlink_to(package, target_is_directory=True)
    for number, source in enumerate((name, f"./node_modules/{name}/model.mjs")):
        (tmp_path / f"use{number}.mts").write_text(f"""
import {{ load, missingFeatures, SparsecError, type Inputs, type Model, type Outputs }} from "{source}";
const model: Model = await load({{ threads: 1, onProgress: (loaded: number, total: number) => void (loaded / total) }});
const feeds: Inputs = {{ x: new Float32Array(32 * 24) }};
const outputs: Outputs = model.run(feeds);
const found: [number, Float32Array] = [model.threads, outputs.y];
model.close();
if (missingFeatures().length) throw new SparsecError();
// @ts-expect-error an input is missing
model.run({{}});
// @ts-expect-error there is no such option
await load({{ thread: 2 }});
export {{ found }};
""")
    flags = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"]
    done = subprocess.run(
        [tsc, *flags, "use0.mts", "use1.mts"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_an_engine_without_the_instructions_is_told_which(node: Node, tmp_path: Path) -> None:
    plan, module = compile_wasm(two_layers(), Options("wasm32-relaxed", use_measurements=False))
    write_files(tmp_path, package_files(plan, module, weights_inside=True))
    script = """
import { load, missingFeatures } from "./model.mjs";
const validate = WebAssembly.validate;
WebAssembly.validate = (bytes) => bytes.length < 40 && validate(bytes) && !new Uint8Array(bytes).includes(128);
console.log(missingFeatures().join(), await load().then(() => "loaded", (error) => error.message));
"""
    printed = node(script, tmp_path)
    assert printed.startswith("relaxed-simd This WebAssembly engine lacks")
    assert "got: none of relaxed-simd" in printed


@pytest.mark.parametrize("target", ["wasm32", "wasm32-relaxed"])
def test_a_whole_network(node: Node, tmp_path: Path, target: str) -> None:
    """MediaPipe's hand landmarks in Node, in wasmtime, and in ONNX Runtime."""
    model = onnx.ModelProto.FromString(gzip.decompress(LANDMARKS.read_bytes()))
    plan, module = compile_wasm(model, Options(target, use_measurements=False))
    write_files(tmp_path, package_files(plan, module, weights_inside=True))
    assert (tmp_path / "model.wasm").stat().st_size < 1.15 * plan.weights.nbytes
    x = np.random.default_rng(0).random(plan.inputs[0].shape, np.float32)
    in_node = run(node, tmp_path, x)
    in_wasmtime = WasmModel(module).run({plan.inputs[0].name: x})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for spec, expected in zip(session.get_outputs(), session.run(None, {plan.inputs[0].name: x}), strict=True):
        tolerance = 1e-4 * max(float(np.abs(expected).max()), 1e-3)
        for got in (in_node[spec.name], in_wasmtime[spec.name]):
            np.testing.assert_allclose(got.reshape(expected.shape), expected, rtol=1e-4, atol=tolerance)
