"""What is declared is what is there."""

from __future__ import annotations

import gzip
import re
import tomllib
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NETWORK = ROOT / "bench" / "models" / "handlandmark.onnx.gz"


def tracked_folders(top: str) -> set[Path]:
    """Folders below `top` that hold Python files."""
    return {file.parent for file in (ROOT / top).rglob("*.py")}


def test_every_folder_of_sources_is_a_declared_package() -> None:
    setup = PROJECT["tool"]["setuptools"]
    homes = {name: Path(home) for name, home in setup["package-dir"].items()}
    declared = set()
    for name in setup["packages"]:
        root = max((each for each in homes if name == each or name.startswith(f"{each}.")), key=len)
        declared.add(ROOT / homes[root] / Path(*name.removeprefix(root).strip(".").split(".")))
    there = {folder for top in ("compiler", "passes", "frontends", "runtime") for folder in tracked_folders(top)}
    assert declared == there
    assert all((folder / "__init__.py").exists() for folder in there)


def test_every_c_file_is_declared() -> None:
    (extension,) = PROJECT["tool"]["setuptools"]["ext-modules"]
    declared = {ROOT / file for file in (*extension["sources"], *extension["depends"])}
    assert declared == set((ROOT / "runtime" / "native").glob("*.[ch]"))


def test_the_changelog_and_the_readme_are_there() -> None:
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "NOTICE"):
        assert (ROOT / name).stat().st_size > 500


@pytest.mark.parametrize("name", ["README.md", "NOTICE", "Makefile", "pyproject.toml", "CHANGELOG.md"])
def test_no_line_names_a_path_of_some_machine(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"(?<![\w.])/(home|root|work|tmp|opt)/", text)


def test_the_network_of_the_demo_is_stored_sparse() -> None:
    assert NETWORK.stat().st_size < 2_000_000
    model = onnx.ModelProto.FromString(gzip.decompress(NETWORK.read_bytes()))
    onnx.checker.check_model(model)
    stored = sum(sparse.values.dims[0] for sparse in model.graph.sparse_initializer)
    assert stored > 250_000
    dense = sum(numpy_helper.to_array(each).size for each in model.graph.initializer)
    assert dense < 200_000


def test_the_network_of_the_demo_loads_in_onnx_runtime() -> None:
    session = onnxruntime.InferenceSession(gzip.decompress(NETWORK.read_bytes()), providers=["CPUExecutionProvider"])
    assert [each.shape for each in session.get_inputs()] == [[1, 224, 224, 3]]
