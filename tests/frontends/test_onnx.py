"""ONNX import: what reaches the module, what is lifted, and how failures are told."""

import gzip
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch_mlir import ir

from sparsec.errors import ModelError, UnsupportedOpError
from sparsec.formats.coo import Coo
from sparsec.frontends.contract import location_name, main_function
from sparsec.frontends.imported import Imported, TensorSpec
from sparsec.frontends.onnx import import_onnx
from sparsec.ir.weights import find_weights, weight_name

F32 = TensorProto.FLOAT
I64 = TensorProto.INT64
RNG = np.random.default_rng(0)


def value(name, shape, element=F32):
    return helper.make_tensor_value_info(name, element, shape)


def model(nodes, inputs, outputs, constants=None, opset=17, **extra):
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors, **extra)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def linear(opset=17, k=16, n=8):
    weight = RNG.standard_normal((k, n)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="fc"), helper.make_node("Relu", ["h"], ["y"])]
    return model(nodes, [value("x", [2, k])], [value("y", [2, n])], {"w": weight}, opset), weight


def op_names(imported: Imported) -> list[str]:
    names: list[str] = []

    def visit(op):
        names.append(op.name)
        return ir.WalkResult.ADVANCE

    main_function(imported.module).walk(visit)
    return names


def test_a_large_weight_is_lifted_and_a_small_one_stays(context):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])]
    weight, bias = np.ones((16, 8), np.float32), np.arange(8, dtype=np.float32)
    imported = import_onnx(
        model(nodes, [value("x", [2, 16])], [value("y", [2, 8])], {"w": weight, "b": bias}), context=context
    )
    assert list(imported.weights) == ["w"]
    assert np.array_equal(imported.weights.dense("w"), weight)
    assert [weight_name(op) for op in find_weights(imported.module)] == ["w"]
    assert "dense<[0.000000e+00, 1.000000e+00" in str(imported.module)
    assert imported.module.operation.verify()


def test_names_dtypes_and_shapes_of_the_interface(context):
    imported = import_onnx(linear()[0], context=context)
    assert imported.inputs == (TensorSpec("x", "float32", (2, 16)),)
    assert imported.outputs == (TensorSpec("y", "float32", (2, 8)),)
    assert imported.name == "g"


@pytest.mark.parametrize("part", ["input", "output", "initializer", "node"])
def test_names_that_stand_for_two_values_are_refused(context, part):
    proto, _ = linear()
    values = getattr(proto.graph, part)
    values.append(values[0])
    with pytest.raises(ModelError, match="two values of the name"):
        import_onnx(proto, context=context)


@pytest.mark.parametrize("sizes", [(2**40, 2**40), (2**41,)])
def test_tensors_beyond_all_memory_are_refused(context, sizes):
    relu = model([helper.make_node("Relu", ["x"], ["y"])], [value("x", sizes)], [value("y", sizes)])
    with pytest.raises(ModelError, match=f"input 'x'(.|\n)*{sizes[0]}"):
        import_onnx(relu, context=context)
    expand = model([helper.make_node("Expand", ["x", "s"], ["y"])], [value("x", [1])], [value("y", None)], {"s": sizes})
    with pytest.raises(UnsupportedOpError, match="no memory holds 'y'"):
        import_onnx(expand, context=context)


def test_shapes_that_are_stated_wrong_are_not_believed(context):
    proto, _ = linear()
    proto.graph.output[0].CopyFrom(value("y", [3, 9]))
    proto.graph.value_info.append(value("h", [4, 8]))
    assert import_onnx(proto, context=context).outputs == (TensorSpec("y", "float32", (2, 8)),)


def test_locations_carry_node_names(context):
    imported = import_onnx(linear()[0], context=context)
    function = main_function(imported.module)
    assert "fc" in [location_name(op.location) for op in function.regions[0].blocks[0].operations]


def test_path_gzip_bytes_and_proto_give_the_same(context, tmp_path: Path):
    proto, _ = linear()
    plain, packed = tmp_path / "net.onnx", tmp_path / "net.onnx.gz"
    plain.write_bytes(proto.SerializeToString())
    packed.write_bytes(gzip.compress(proto.SerializeToString()))
    before = proto.SerializeToString()
    modules = {
        str(import_onnx(source, context=context).module) for source in (plain, str(packed), plain.read_bytes(), proto)
    }
    assert len(modules) == 1
    assert proto.SerializeToString() == before
    assert import_onnx(packed, context=context).name == "net"


def test_external_data_is_mapped_not_read(context, tmp_path: Path):
    proto, weight = linear()
    path = tmp_path / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="net.bin", size_threshold=0)
    imported = import_onnx(path, context=context)
    assert isinstance(imported.weights["w"], np.memmap)
    assert np.array_equal(imported.weights.dense("w"), weight)


def test_external_data_that_is_missing_or_short_or_outside_is_an_error(context, tmp_path: Path):
    proto, _ = linear()
    path = tmp_path / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="net.bin", size_threshold=0)
    (tmp_path / "net.bin").write_bytes(b"1234")
    with pytest.raises(ModelError, match="cannot be read"):
        import_onnx(path, context=context)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ModelError, match="'w'"):
        import_onnx(path, context=context)
    saved = onnx.load(path, load_external_data=False)
    saved.graph.initializer[0].external_data[0].value = "../net.bin"
    path.write_bytes(saved.SerializeToString())
    with pytest.raises(ModelError, match="outside"):
        import_onnx(path, context=context)


@pytest.mark.parametrize("linear_indices", [True, False])
def test_a_sparse_initializer_stays_sparse(context, linear_indices):
    dense = np.where(RNG.random((16, 8)) < 0.2, RNG.standard_normal((16, 8)), 0).astype(np.float32)
    coo = Coo.from_dense(dense)
    indices = coo.indices if linear_indices else coo.coordinates()
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(coo.values, "w"), numpy_helper.from_array(indices, "i"), [16, 8]
    )
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("Transpose", ["t"], ["u"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "u"], ["y"]),
    ]
    proto = model(nodes, [value("x", [2, 16])], [value("y", [2, 8])], sparse_initializer=[sparse])
    (kept,) = import_onnx(proto, context=context).weights.values()
    assert isinstance(kept, Coo)
    assert np.array_equal(kept.to_dense(), dense)


def test_a_malformed_sparse_initializer_is_an_error(context):
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(2, np.float32), "w"),
        numpy_helper.from_array(np.array([0, 500], np.int64), "i"),
        [16, 8],
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    proto = model(nodes, [value("x", [2, 16])], [value("y", [2, 8])], sparse_initializer=[sparse])
    with pytest.raises(ModelError, match="'w'"):
        import_onnx(proto, context=context)


def test_an_initializer_that_is_also_an_input_is_a_weight(context):
    proto, _ = linear()
    proto.graph.input.append(value("w", [16, 8]))
    imported = import_onnx(proto, context=context)
    assert [spec.name for spec in imported.inputs] == ["x"]
    assert list(imported.weights) == ["w"]


def test_unused_constants_and_nodes_are_dropped(context):
    proto, _ = linear()
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(500, np.float32), "unused"))
    proto.graph.node.append(helper.make_node("NonZero", ["x"], ["dead"]))
    assert list(import_onnx(proto, context=context).weights) == ["w"]


def test_constant_nodes_are_lifted(context):
    table = RNG.standard_normal((100, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Constant", [], ["t"], value=numpy_helper.from_array(table)),
        helper.make_node("Gather", ["t", "x"], ["y"]),
    ]
    imported = import_onnx(model(nodes, [value("x", [3], I64)], [value("y", [3, 4])]), context=context)
    assert np.array_equal(imported.weights.dense("t"), table)


def test_integer_and_half_weights_keep_their_types(context):
    arrays = {"i": np.arange(100, dtype=np.int64), "u": np.arange(100, dtype=np.uint8), "h": np.ones(100, np.float16)}
    nodes = [helper.make_node("Identity", [name], [f"{name}.out"]) for name in arrays]
    elements = {"i": I64, "u": TensorProto.UINT8, "h": TensorProto.FLOAT16}
    outputs = [value(f"{name}.out", [100], element) for name, element in elements.items()]
    imported = import_onnx(model(nodes, [value("x", [1])], outputs, arrays), context=context)
    assert [spec.dtype for spec in imported.outputs] == ["int64", "uint8", "float16"]
    assert {weight.dtype.name for weight in imported.weights.values()} == {"int64", "uint8", "float16"}


def shape_chain():
    """y = reshape(x, [shape(x)[0], -1]), with the arithmetic that exporters write."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    return model(nodes, [value("x", ["batch", 3, "height"])], [value("y", None)], constants)


def test_shapes_that_are_given_fold_the_shape_arithmetic(context):
    imported = import_onnx(shape_chain(), context=context, shapes={"x": (4, 3, 5)})
    assert imported.outputs == (TensorSpec("y", "float32", (4, 15)),)
    assert "torch.aten.size.int" not in op_names(imported)


def test_an_unknown_first_dimension_is_one(context):
    proto = model([helper.make_node("Relu", ["x"], ["y"])], [value("x", ["n", 3])], [value("y", ["n", 3])])
    assert import_onnx(proto, context=context).outputs[0].shape == (1, 3)


def test_another_unknown_dimension_is_an_error_that_names_the_option(context):
    with pytest.raises(ModelError, match=r"--shape x=1,3,<height>"):
        import_onnx(shape_chain(), context=context)


@pytest.mark.parametrize("shapes", [{"nope": (1,)}, {"x": (4, 4, 5)}, {"x": (4, 3)}, {"x": (4, 3, -1)}])
def test_shapes_that_do_not_fit_are_an_error(context, shapes):
    with pytest.raises(ModelError):
        import_onnx(shape_chain(), context=context, shapes=shapes)


@pytest.mark.parametrize("data", [b"", b"not a model at all", b"\x1f\x8bbroken", bytes(100), b"\x08\x07" * 50])
def test_what_is_no_model_is_an_error(context, data):
    with pytest.raises(ModelError):
        import_onnx(data, context=context)


def test_every_truncation_of_a_model_is_an_error_or_a_model(context):
    data = linear()[0].SerializeToString()
    for end in range(0, len(data) - 1, 37):
        with pytest.raises((ModelError, UnsupportedOpError)):
            import_onnx(data[:end], context=context)


def test_a_missing_file_is_an_error(context, tmp_path: Path):
    with pytest.raises(ModelError, match="No such file"):
        import_onnx(tmp_path / "nothing.onnx", context=context)


def test_outputs_that_are_inputs_constants_or_twice_the_same(context):
    nodes = [helper.make_node("Identity", ["x"], ["a"]), helper.make_node("Identity", ["x"], ["b"])]
    outputs = [value("a", [2]), value("b", [2]), value("c", [3]), value("x", [2])]
    imported = import_onnx(model(nodes, [value("x", [2])], outputs, {"c": np.ones(3, np.float32)}), context=context)
    assert [spec.name for spec in imported.outputs] == ["a", "b", "c", "x"]
    assert imported.module.operation.verify()


def test_a_refused_operator_names_the_node_its_type_and_shapes(context, capfd):
    proto = model(
        [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("NonZero", ["h"], ["y"], name="where_set")],
        [value("x", [2, 3])],
        [value("y", [2, None], I64)],
    )
    with pytest.raises(UnsupportedOpError) as caught:
        import_onnx(proto, context=context)
    text = str(caught.value)
    assert "where_set" in text
    assert "NonZero" in text
    assert "float[2, 3]" in text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "element", [TensorProto.UINT64, TensorProto.UINT16, TensorProto.FLOAT8E4M3FN, TensorProto.STRING]
)
def test_element_types_on_which_the_toolchain_aborts_are_refused_first(context, element):
    proto = model([helper.make_node("Identity", ["x"], ["y"])], [value("x", [2], element)], [value("y", [2], element)])
    with pytest.raises(UnsupportedOpError):
        import_onnx(proto, context=context)


def test_a_word_on_which_the_toolchain_crashes_is_refused_first(context):
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="{earest")
    scales = {"s": np.array([1, 1, 2, 2], np.float32)}
    with pytest.raises((ModelError, UnsupportedOpError)):
        import_onnx(model([node], [value("x", [1, 1, 2, 2])], [value("y", [1, 1, 4, 4])], scales), context=context)


def test_an_axis_out_of_range_is_refused_first(context):
    node = helper.make_node("Flatten", ["x"], ["y"], axis=-39406496739491841)
    with pytest.raises((ModelError, UnsupportedOpError)):
        import_onnx(model([node], [value("x", [2, 3, 4, 5])], [value("y", [24, 5])]), context=context)


def test_names_that_are_not_text_are_an_error(context):
    data = linear()[0].SerializeToString().replace(b"fc", b"\xff\xfe")
    with pytest.raises(ModelError):
        import_onnx(data, context=context)


def test_an_if_with_a_constant_condition_is_the_branch(context):
    def branch(op):
        return helper.make_graph([helper.make_node(op, ["x"], ["r"])], op, [], [value("r", [2])])

    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branch("Relu"), else_branch=branch("Neg"), name="choice")]
    for condition, op in ((True, "torch.aten.relu"), (False, "torch.aten.neg")):
        proto = model(nodes, [value("x", [2])], [value("y", [2])], {"c": np.array(condition)})
        assert op in op_names(import_onnx(proto, context=context))


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 21])
def test_operator_sets_old_and_new(context, opset):
    assert import_onnx(linear(opset)[0], context=context).outputs[0].shape == (2, 8)


def test_functions_of_the_model_are_inlined(context):
    double = helper.make_function(
        "own", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph = helper.make_graph(
        [helper.make_node("Double", ["x"], ["y"], domain="own")], "g", [value("x", [2])], [value("y", [2])]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    proto = helper.make_model(graph, functions=[double], opset_imports=opsets, ir_version=10)
    assert "torch.aten.add.Tensor" in op_names(import_onnx(proto, context=context))
