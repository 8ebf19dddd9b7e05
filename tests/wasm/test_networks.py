"""Small networks, in fp32 and int8, in every engine of WebAssembly against this machine's own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import QuantFormat, quantize_static

import sparsec
from bench.wasm_engines.table import ENGINES
from bench.wasm_networks import relative_error
from sparsec.driver import compile_wasm
from sparsec.feeds import random_feeds
from sparsec.options import Options
from sparsec.web.package import package_files
from sparsec.whole_file import write_files
from tests.test_quantised_networks import NETWORKS, Random

FLOAT, STEPS = 1e-4, 0.05  # tolerances of fp32, and where a value may be rounded to the next of 256 steps


@pytest.fixture(
    scope="module", params=["convolutional fp32", "convolutional int8", "transformer fp32", "transformer int8"]
)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A model's file, and how far its outputs may be from another machine's."""
    name, precision = request.param.split()
    folder = tmp_path_factory.mktemp("network")
    build, shape = NETWORKS[name]
    path = build(folder / "network.onnx")
    if precision == "fp32":
        return path, FLOAT
    quantised = folder / "int8.onnx"
    quantize_static(path, quantised, Random(shape), quant_format=QuantFormat.QDQ, per_channel=True)
    return quantised, 0.0 if name == "convolutional" else STEPS


@pytest.fixture(scope="module", params=["wasm32", "wasm32-relaxed"])
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def package(network: tuple[Path, float], target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    plan, module = compile_wasm(network[0], Options(target, use_measurements=False))
    write_files(folder, package_files(plan, module, weights_inside=True))
    return folder


@pytest.mark.parametrize("engine", list(ENGINES))
def test_outputs_are_those_of_this_machine(engine: str, network: tuple[Path, float], package: Path) -> None:
    """Within float tolerance; equal where all of a network is whole numbers."""
    missing = ENGINES[engine].missing()
    if missing is not None:
        pytest.skip(missing)
    model, tolerance = network
    native = sparsec.compile(model)
    feeds = random_feeds(native.inputs, seed=1)
    got = ENGINES[engine].run(package, feeds)
    for name, expected in native.run(feeds).items():
        assert relative_error(got[name], expected) <= tolerance, name


def test_an_error_that_is_no_number_is_infinite() -> None:
    assert relative_error(np.array([1.0, np.nan]), np.array([1.0, 2.0])) == np.inf
    assert relative_error(np.array([1.0, np.nan]), np.array([2.0, np.nan])) == 0.5
