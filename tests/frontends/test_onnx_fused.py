"""Operators of ONNX Runtime's optimisers, alone and as those make them, against ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import sparsec

RNG = np.random.default_rng(0)
LENGTHS = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def session_of(model, *, optimised=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    level = "ORT_ENABLE_EXTENDED" if optimised else "ORT_DISABLE_ALL"
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    if optimised:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def same(model, feeds):
    expected = session_of(model).run(None, feeds)
    found = sparsec.compile(model).run(feeds).values()
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def model_of(nodes, feeds, constants, outputs, opset=17):
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in feeds.items()
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, results, stored)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


ACTIVATIONS = [("LeakyRelu", [0.1]), ("HardSigmoid", [0.3, 0.4]), ("Clip", [-0.5, 0.5]), ("Relu", []), ("Tanh", [])]
CASES = [
    ("Gelu", {"x": f(2, 3, 4)}, {}, {}),
    ("BiasGelu", {"x": f(2, 3, 4)}, {"b": f(4)}, {}),
    ("FastGelu", {"x": f(2, 3, 4)}, {"b": f(4)}, {}),
    ("FastGelu", {"x": f(2, 3, 4)}, {}, {}),
    ("QuickGelu", {"x": f(2, 3, 4)}, {}, {"alpha": 1.5}),
    ("SkipLayerNormalization", {"x": f(2, 3, 4), "z": f(2, 3, 4)}, {"g": f(4), "b": f(4), "c": f(4)}, {}),
    ("SkipLayerNormalization", {"x": f(2, 3, 4), "z": f(2, 3, 4)}, {"g": f(4), "b": f(4)}, {"epsilon": 0.5}),
    ("SkipSimplifiedLayerNormalization", {"x": f(2, 3, 4), "z": f(2, 3, 4)}, {"g": f(4), "c": f(4)}, {}),
    ("FusedMatMul", {"x": f(2, 3, 4)}, {"w": f(5, 4)}, {"alpha": 0.5, "transB": 1}),
    ("FusedMatMul", {"x": f(2, 3, 4), "z": f(2, 4, 5)}, {}, {"alpha": 2.0}),
    ("FusedMatMul", {"x": f(2, 2, 3, 4), "z": f(2, 2, 5, 4)}, {}, {"alpha": 0.5, "transB": 1}),
    ("FusedMatMul", {"x": f(2, 4, 3), "z": f(2, 4, 5)}, {}, {"transA": 1}),
    ("FusedGemm", {"x": f(3, 4)}, {"w": f(5, 4), "b": f(5)}, {"activation": "Relu", "transB": 1, "alpha": 0.5}),
    (
        "FusedGemm",
        {"x": f(3, 4)},
        {"w": f(4, 5), "b": f(5)},
        {"activation": "LeakyRelu", "activation_alpha": 0.2},
    ),
    ("Attention", {"x": f(2, 5, 8)}, {"w": f(8, 24), "b": f(24)}, {"num_heads": 2}),
    ("Attention", {"x": f(2, 5, 8)}, {"w": f(8, 24), "b": f(24), "m": LENGTHS}, {"num_heads": 2, "scale": 0.3}),
    ("MultiHeadAttention", {"q": f(2, 3, 8), "k": f(2, 5, 8), "v": f(2, 5, 8)}, {}, {"num_heads": 4}),
    (
        "MultiHeadAttention",
        {"q": f(2, 3, 8), "k": f(2, 5, 8), "v": f(2, 5, 8)},
        {"b": f(24), "m": LENGTHS},
        {"num_heads": 2},
    ),
    *(
        ("FusedConv", {"x": f(1, 4, 6, 5)}, {"w": f(6, 2, 3, 3), "b": f(6)}, {"activation": a, "activation_params": p})
        for a, p in ACTIVATIONS
    ),
]


@pytest.mark.parametrize("opset", [11, 17, 18])
@pytest.mark.parametrize(("op", "feeds", "constants", "attributes"), CASES, ids=[case[0] for case in CASES])
def test_each_is_what_onnx_runtime_computes(op, feeds, constants, attributes, opset):
    names = [*feeds, *constants]
    extra = {"group": 2, "kernel_shape": [3, 3], "pads": [1, 0, 1, 2]} if op == "FusedConv" else {}
    kept = {name: value for name, value in attributes.items() if value != []}
    node = helper.make_node(op, names, ["y"], domain="com.microsoft", **kept, **extra)
    same(model_of([node], feeds, constants, ["y"], opset), feeds)


def test_the_sum_before_a_normalisation_is_a_result():
    node = helper.make_node(
        "SkipLayerNormalization", ["x", "z", "g", "b", "c"], ["y", "", "", "s"], domain="com.microsoft"
    )
    feeds = {"x": f(2, 3, 4), "z": f(2, 3, 4)}
    same(model_of([node], feeds, {"g": f(4), "b": f(4), "c": f(4)}, ["y", "s"]), feeds)


@pytest.mark.parametrize(("opset", "op"), [(13, "LayerNormalization"), (17, "SimplifiedLayerNormalization")])
def test_normalisations_that_onnx_does_not_declare(opset, op):
    node = helper.make_node(op, ["x", "g"], ["y"], epsilon=0.01, axis=-1)
    feeds = {"x": f(2, 3, 4)}
    same(model_of([node], feeds, {"g": f(4)}, ["y"], opset), feeds)


def test_a_mask_of_keys_is_an_input():
    operands = ["q", "q", "q", "", "m"]
    node = helper.make_node("MultiHeadAttention", operands, ["y"], domain="com.microsoft", num_heads=2)
    feeds = {"q": f(2, 5, 8), "m": LENGTHS}
    same(model_of([node], feeds, {}, ["y"]), feeds)


def test_sums_of_a_mask_are_lengths():
    """As ONNX Runtime's optimiser of transformers writes it: without the operator set, too."""
    nodes = [
        helper.make_node("Cast", ["m"], ["wide"], to=TensorProto.INT32),
        helper.make_node("ReduceSum", ["wide", "axes"], ["lengths"], keepdims=0),
        helper.make_node("Attention", ["x", "w", "b", "lengths"], ["y"], domain="com.microsoft", num_heads=2),
    ]
    constants = {"w": f(8, 24), "b": f(24), "axes": np.array([1])}
    feeds = {"x": f(2, 5, 8), "m": LENGTHS.astype(np.int64)}
    model = model_of(nodes, feeds, constants, ["y"])
    del model.opset_import[1]
    same(model, feeds)


@pytest.mark.parametrize("opset", [11, 17])
def test_embeddings_that_are_normalised(opset):
    """Their lengths go on to attention."""
    embed = ["i", "s", "word", "place", "segment", "g", "b", "m"]
    nodes = [
        helper.make_node("EmbedLayerNormalization", embed, ["x", "lengths"], domain="com.microsoft"),
        helper.make_node("Attention", ["x", "w", "c", "lengths"], ["y"], domain="com.microsoft", num_heads=2),
    ]
    tables = {"word": f(9, 8), "place": f(7, 8), "segment": f(2, 8), "g": f(8), "b": f(8), "w": f(8, 24), "c": f(24)}
    feeds = {"i": RNG.integers(0, 9, (2, 5)).astype(np.int32), "s": LENGTHS, "m": LENGTHS}
    same(model_of(nodes, feeds, tables, ["y"], opset), feeds)


def test_what_an_expansion_does_not_cover_is_refused():
    node = helper.make_node("Attention", ["x", "w", "b"], ["y"], domain="com.microsoft", num_heads=2, unidirectional=1)
    model = model_of([node], {"x": f(2, 5, 8)}, {"w": f(8, 24), "b": f(24)}, ["y"])
    with pytest.raises(sparsec.UnsupportedOpError, match="Attention"):
        sparsec.compile(model)


def test_a_model_that_onnx_runtime_optimised(tmp_path):
    """Two layers with an activation and a normalisation, which become operators of its own."""
    weights = {
        "w1": f(8, 16),
        "b1": f(16),
        "w2": f(16, 8),
        "b2": f(8),
        "g": f(8),
        "b": f(8),
        "root": np.float32(2**0.5),
    }
    weights |= {"one": np.float32(1), "half": np.float32(0.5)}
    steps = [
        ("MatMul", ["x", "w1"], "p"),
        ("Add", ["p", "b1"], "h"),
        ("Div", ["h", "root"], "d"),
        ("Erf", ["d"], "e"),
        ("Add", ["e", "one"], "o"),
        ("Mul", ["h", "o"], "m"),
        ("Mul", ["m", "half"], "a"),
        ("MatMul", ["a", "w2"], "q"),
        ("Add", ["q", "b2"], "r"),
        ("Add", ["r", "x"], "s"),
        ("LayerNormalization", ["s", "g", "b"], "y"),
    ]
    nodes = [helper.make_node(op, inputs, [output]) for op, inputs, output in steps]
    feeds = {"x": f(2, 5, 8)}
    session_of(model_of(nodes, feeds, weights, ["y"]), optimised=tmp_path / "optimised.onnx")
    optimised = onnx.load(tmp_path / "optimised.onnx")
    assert {"Gelu", "SkipLayerNormalization"} <= {node.op_type for node in optimised.graph.node}
    same(optimised, feeds)
