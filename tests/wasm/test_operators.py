"""Everything that is no layer, compiled to WebAssembly: the cases of the ONNX tests, run by wasmtime."""

from __future__ import annotations

import numpy as np
import pytest

from bench.wasm_engines.module import FailedCheckError, WasmModel
from sparsec.driver import compile_wasm
from sparsec.options import Options
from tests.frontends.test_onnx_results import CASES, model_of, runtime_results

QUIET = Options("wasm32", use_measurements=False)


@pytest.mark.parametrize(("op", "opset"), list(CASES))
def test_results_are_those_of_onnx_runtime(op: str, opset: int) -> None:
    model, feeds = model_of(op, opset, CASES[op, opset])
    plan, module = compile_wasm(model, QUIET)
    got = WasmModel(module).run({spec.name: feeds[spec.name] for spec in plan.inputs})
    for name, expected in runtime_results(model, feeds).items():
        assert (got[name].shape, got[name].dtype) == (expected.shape, expected.dtype), name
        np.testing.assert_allclose(got[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_failed_check_is_reported_and_the_next_run_is_clean() -> None:
    table, indices = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([0, 3], np.int64)
    model, feeds = model_of("Gather", 18, [([table, indices], {"axis": 0}, 1)])
    plan, module = compile_wasm(model, QUIET)
    network = WasmModel(module)
    given = {spec.name: feeds[spec.name] for spec in plan.inputs}
    (place,) = (name for name, value in given.items() if value.dtype == np.int64)
    for wrong in (4, 2**32):  # addresses have 32 bits, indices 64
        with pytest.raises(FailedCheckError, match="out of range"):
            network.run({**given, place: np.array([0, wrong], np.int64)})
    (got,) = network.run(given).values()
    np.testing.assert_array_equal(got, table[[0, 3]])
