"""Weights that are stored as float16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.wasm_engines.module import Instance, WasmModel
from bench.wasm_engines.table import ENGINES
from sparsec.artifact import Piece
from sparsec.driver import compile_wasm
from sparsec.options import Options
from sparsec.targets import TARGETS, parallel
from sparsec.targets.wasm_half import widening
from sparsec.targets.wasm_link import link
from sparsec.web.package import package_files
from sparsec.whole_file import write_files
from tests.rounded_models import rounded
from tests.tune.models import two_layers

SOURCE, TARGET = 1 << 20, 2 << 20
QUIET = Options("wasm32", use_measurements=False)


def test_every_half_is_widened_exactly() -> None:
    """All finite ones, subnormal ones and both zeros among them."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    pieces = (Piece(4, False), Piece(4 * halves.size, True), Piece(8, False))
    source = widening(pieces, SOURCE, TARGET).replace("define internal", "define")
    code = parallel.emit_object(source, TARGETS["wasm32"], ())
    module = link([code], stack_top=1 << 16, constants=TARGET + (1 << 20), exports=["widen"])
    instance = Instance(module.content)
    stored = b"abcd" + halves.tobytes() + b"12345678"
    instance.write(SOURCE, np.frombuffer(stored, np.uint8))
    instance.call("widen")
    assert instance.read(TARGET, "uint8", 4).tobytes() == b"abcd"
    got = instance.read(TARGET + 4, "uint32", halves.size)
    np.testing.assert_array_equal(got, halves.astype(np.float32).view(np.uint32))
    assert instance.read(TARGET + 4 + 4 * halves.size, "uint8", 8).tobytes() == b"12345678"
    instance.write(TARGET, np.zeros(4, np.uint8))
    instance.call("widen")
    assert instance.read(TARGET, "uint32", 1)[0] == 0, "only the first call does it"


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("inside", [True, False])
def test_outputs_are_those_of_rounded_weights(engine: str, inside: bool, tmp_path: Path) -> None:
    missing = ENGINES[engine].missing()
    if missing is not None:
        pytest.skip(missing)
    plan, module = compile_wasm(two_layers(), replace(QUIET, storage="fp16"), weights_inside=inside)
    write_files(tmp_path, package_files(plan, module, weights_inside=inside))
    feeds = {"x": np.random.default_rng(1).standard_normal((32, 24)).astype(np.float32)}
    whole, other = compile_wasm(rounded(two_layers()), QUIET)
    assert plan.weights.nbytes < 0.8 * whole.weights.nbytes
    expected = WasmModel(other).run(feeds)["y"]
    for _ in range(2):
        np.testing.assert_array_equal(ENGINES[engine].run(tmp_path, feeds)["y"], expected.reshape(-1))
