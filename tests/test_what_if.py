"""What-if: imposed patterns are what was asked for, and the weights stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from sparsec.driver import compile_layers
from sparsec.errors import UsageError
from sparsec.options import Options
from sparsec.what_if import Scenario, parse_scenarios, what_if
from tests.tune.models import two_layers


def test_scenarios() -> None:
    assert parse_scenarios("0.9, 2:4") == (Scenario("0.9", 0.9), Scenario("2:4", 0.5, (2, 4)))
    assert parse_scenarios("0")[0].zeros == 0


@pytest.mark.parametrize(
    "text", ["", "1", "1.5", "-0.1", "x", "nan", "0:4", "5:4", "2:", ":4", "2:4:8", "0.9,,", "a:b"]
)
def test_no_scenarios(text: str) -> None:
    with pytest.raises(UsageError, match="--what-if"):
        parse_scenarios(text)


def test_each_scenario_has_the_precision_that_is_faster_then() -> None:
    """As it would be chosen for a layer with such weights."""
    unit = compile_layers(wide_layer(), Options("x86-64-v4-bf16", use_measurements=False, precision="bf16"))
    (found,) = what_if(unit, parse_scenarios("0,0.5,0.999"))
    assert found.now.choice.startswith("bf16_")
    for scenario, then in zip(("0", "0.5", "0.999"), found.then, strict=True):
        assert then is not None
        single = compile_layers(wide_layer(), Options("x86-64-v4-bf16", use_measurements=False))
        (alone,) = what_if(single, parse_scenarios(scenario))
        assert alone.then[0] is not None
        assert then.predicted_ns <= alone.then[0].predicted_ns
        assert then.choice.startswith("bf16_") == (then.predicted_ns < alone.then[0].predicted_ns)


def wide_layer() -> bytes:
    """A dense layer of 512 inputs and outputs, on 64 tokens."""
    weights = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="wide")],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 512])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 512])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_predictions() -> None:
    unit = compile_layers(two_layers().SerializeToString())
    before = {name: np.array(unit.weights.dense(name)) for name in unit.weights}
    first, second = what_if(unit, parse_scenarios("0,0.9,2:4"))
    assert first.now.density == pytest.approx(0.25, abs=0.1)
    dense, sparse, half = first.then
    assert dense is not None
    assert sparse is not None
    assert half is not None
    assert dense.density == 1
    assert sparse.density == pytest.approx(0.1, abs=0.05)
    assert half.density == 0.5
    assert "2:4" in half.pattern
    assert second.then[2] is None, "18 inputs have no groups of 4"
    assert second.then[1] is not None
    assert {name: list(array.reshape(-1)) for name, array in before.items()} == {
        name: list(unit.weights.dense(name).reshape(-1)) for name in unit.weights
    }
