"""Node, and packages to run in it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from bench.wasm_engines import node as engine
from sparsec.driver import compile_wasm
from sparsec.options import Options
from sparsec.web.package import package_files
from sparsec.whole_file import write_files
from tests.tune.models import two_layers


class Node(Protocol):
    """`node(script, folder)` runs an ES module that may import from `folder`; returns what it prints."""

    def __call__(self, script: str, folder: Path) -> str: ...


@pytest.fixture(scope="session")
def node() -> Node:
    missing = engine.Node().missing()
    if missing is not None:
        pytest.skip(missing)
    return engine.run_script


@pytest.fixture(scope="session", params=["inside", "beside"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a network of two layers, with its weights in the module or beside it."""
    folder = tmp_path_factory.mktemp("package")
    inside = request.param == "inside"
    plan, module = compile_wasm(two_layers(), Options("wasm32", use_measurements=False), weights_inside=inside)
    write_files(folder, package_files(plan, module, weights_inside=inside))
    return folder
