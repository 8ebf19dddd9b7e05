"""Node: ES modules in a process of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.wasm_engines.engine import Array, EngineError
from sparsec.artifact import NUMPY_DTYPES

OLDEST, RELAXED = 20, 21  # versions; in older ones Relaxed SIMD must be switched on
LIMIT = 300  # seconds
_RUN = """
import { readFileSync, writeFileSync } from "node:fs";
const [folder, files] = process.argv.slice(2);
const { load } = await import(`file://${folder}/model.mjs`);
const model = await load();
const feeds = {};
for (const [name, file] of Object.entries(JSON.parse(files))) {
  feeds[name] = new model.buffers.inputs[name].constructor(Uint8Array.from(readFileSync(file)).buffer);
}
const results = model.run(feeds);
model.outputs.forEach(({ name }, number) => writeFileSync(`output-${number}.bin`, results[name]));
console.log(JSON.stringify(model.outputs));
"""


@dataclass(frozen=True, slots=True)
class Node:
    """Node as it is installed."""

    def missing(self) -> str | None:
        if shutil.which("node") is None:
            return "there is no Node here: apt-get install nodejs"
        if version() < OLDEST:
            return f"Node is too old: version {version()}, and packages are for {OLDEST} and later"
        return None

    def run(self, package: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
        with tempfile.TemporaryDirectory() as scratch:
            files = {name: str(Path(scratch) / f"feed-{number}.bin") for number, name in enumerate(feeds)}
            for name, values in feeds.items():
                Path(files[name]).write_bytes(values.tobytes())
            specs = json.loads(run_script(_RUN, Path(scratch), str(package), json.dumps(files)))
            outputs = [Path(scratch) / f"output-{number}.bin" for number in range(len(specs))]
            return {
                spec["name"]: np.frombuffer(file.read_bytes(), NUMPY_DTYPES[spec["dtype"]])
                for spec, file in zip(specs, outputs, strict=True)
            }


def version() -> int:
    """The first number of Node's version."""
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return int(done.stdout.removeprefix("v").split(".")[0])


def command() -> list[str]:
    """Node with every instruction of Relaxed SIMD."""
    return ["node", *(["--experimental-wasm-relaxed-simd"] if version() < RELAXED else [])]


def run_script(script: str, folder: Path, *arguments: str) -> str:
    """What an ES module prints that may import from `folder`; raises `EngineError`."""
    file = folder / "script.mjs"
    file.write_text(script)
    done = subprocess.run(
        [*command(), file, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    if done.returncode:
        raise EngineError(done.stderr)
    return done.stdout
