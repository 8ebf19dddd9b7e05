"""Node, and packages to run in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from sparsec.driver import Options, compile_wasm
from sparsec.wasm_package import package_files, write_package
from tests.tune.models import two_layers

OLDEST, RELAXED = 20, 21  # versions; in older ones Relaxed SIMD must be switched on


class Node(Protocol):
    """`node(script, folder)` runs an ES module that may import from `folder`; returns what it prints."""

    def __call__(self, script: str, folder: Path, *, relaxed: bool = False) -> str: ...


@pytest.fixture(scope="session")
def node() -> Node:
    program = shutil.which("node")
    if program is None:
        pytest.skip("there is no Node here: apt-get install nodejs")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(version.removeprefix("v").split(".")[0])
    if major < OLDEST:
        pytest.skip(f"Node is too old: {version.strip()}, and packages are for {OLDEST} and later")

    def run(script: str, folder: Path, *, relaxed: bool = False) -> str:
        flags = ["--experimental-wasm-relaxed-simd"] if relaxed and major < RELAXED else []
        file = folder / "test.mjs"
        file.write_text(script)
        done = subprocess.run(
            [program, *flags, file], cwd=folder, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session", params=["inside", "beside"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a network of two layers, with its weights in the module or beside it."""
    folder = tmp_path_factory.mktemp("package")
    inside = request.param == "inside"
    plan, module = compile_wasm(two_layers(), Options("wasm32", use_measurements=False), weights_inside=inside)
    write_package(folder, package_files(plan, module, weights_inside=inside))
    return folder
