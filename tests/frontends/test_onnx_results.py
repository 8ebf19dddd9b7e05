"""Nodes compiled and run, against ONNX Runtime: attributes, types and shapes that the backend node tests leave out.

All cases of an operator and operator set are nodes of one model, so that each is compiled once.
"""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import sparsec

RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf
ODD = np.array([NAN, INF, -INF, 0, -0.0, 1.5, -2.5, 2.5, 0.5, -0.5, 1e30, 3e9, -3e9, 300, -300], np.float32)
TIES = np.array([[2, 2, 1], [0, 3, 3], [1, 1, 1]], np.float32)


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i(*shape, low=-9, high=9, dtype=np.int64):
    return RNG.integers(low, high, shape).astype(dtype)


def bytes_(*shape):
    return i(*shape, low=0, high=255, dtype=np.uint8)


class Const:
    """A constant operand."""

    def __init__(self, value, dtype=None):
        self.array = np.array(value, dtype)


def ints(*values):
    return Const(values, np.int64)


def real(value):
    return Const(value, np.float32)


CASES: dict[tuple[str, int], list[tuple[list, dict, int]]] = {}


def case(op, *operands, opset=18, outputs=1, **attributes):
    CASES.setdefault((op, opset), []).append((list(operands), attributes, outputs))


def recurrent(op, direction="forward", lengths=None, initial=False, peepholes=False, opset=17, **attributes):
    """Four steps, batch two, three features, hidden size five."""
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    count = 2 if direction == "bidirectional" else 1
    batch_first = attributes.get("layout", 0)
    state = (2, count, 5) if batch_first else (count, 2, 5)
    operands = [f(2, 4, 3) if batch_first else f(4, 2, 3), Const(f(count, gates * 5, 3)), Const(f(count, gates * 5, 5))]
    operands += [Const(f(count, 2 * gates * 5)), None if lengths is None else Const(lengths, np.int32)]
    operands += [f(*state) if initial else None]
    if op == "LSTM":
        operands += [f(*state) if initial else None, Const(f(count, 15)) if peepholes else None]
    case(op, *operands, opset=opset, outputs=3 if op == "LSTM" else 2, hidden_size=5, direction=direction, **attributes)


# Windows
for ceil, dilated in itertools.product((0, 1), ([1, 1], [2, 2])):
    window = {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1], "ceil_mode": ceil, "dilations": dilated}
    case("AveragePool", f(1, 2, 9, 8), opset=19, count_include_pad=0, **window)
    case("AveragePool", f(1, 2, 9, 8), opset=19, count_include_pad=1, **window)
    case("MaxPool", f(1, 2, 9, 8), **window)
    for order in (0, 1):
        case("MaxPool", f(2, 2, 9, 8), outputs=2, storage_order=order, **window | {"pads": [1, 1, 1, 0]})
for words in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    case(
        "AveragePool", f(1, 2, 9, 8), opset=19, kernel_shape=[3, 2], strides=[2, 3], auto_pad=words, count_include_pad=1
    )
    case("MaxPool", f(1, 2, 9, 8), kernel_shape=[3, 2], strides=[2, 3], auto_pad=words)
    case("Conv", f(1, 2, 9, 8), Const(f(3, 2, 3, 2)), strides=[2, 3], auto_pad=words)
for power in (1, 2, 3):
    case("LpPool", f(1, 2, 9, 8), kernel_shape=[3, 2], dilations=[2, 1], strides=[2, 3], pads=[1, 0, 0, 1], p=power)
case("LpPool", f(2, 3, 9), kernel_shape=[3], strides=[2], ceil_mode=1)
case("LpPool", f(1, 2, 9, 8), kernel_shape=[3, 2], auto_pad="SAME_UPPER")
case("MaxPool", bytes_(1, 2, 6, 6), kernel_shape=[2, 2], strides=[2, 2])
case("MaxPool", i(1, 2, 6, 6, low=-100, high=100, dtype=np.int8), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
case("Conv", f(1, 4, 9), Const(f(6, 4, 3)), strides=[2], pads=[0, 2])
case("Conv", f(0, 2, 5, 5), Const(f(3, 2, 2, 2)))
case("ConvTranspose", f(1, 4, 5), Const(f(4, 3, 3)), strides=[2])
case(
    "ConvTranspose",
    f(1, 4, 5, 4),
    Const(f(4, 3, 3, 2)),
    Const(f(3)),
    strides=[2, 2],
    pads=[1, 0, 0, 1],
    output_padding=[1, 0],
)

# Regions, which may reach beyond the operand, or be thinner than an element
regions = np.array([[0, 0, 4, 5], [1, 2, 7, 7.5], [-3, -2, 17, 3], [3, 3, 3.2, 3.1]], np.float32)
for mode in ("half_pixel", "output_half_pixel"):
    sizes = {"output_height": 3, "output_width": 2, "sampling_ratio": 2, "spatial_scale": 0.8}
    operands = [f(2, 3, 9, 8), regions, np.array([0, 1, 1, 0])]
    case("RoiAlign", *operands, coordinate_transformation_mode=mode, **sizes)
case("RoiAlign", f(2, 3, 9, 8), regions, np.array([0, 1, 1, 0]), opset=10, output_height=2, sampling_ratio=3)

# Recurrent networks
for op, direction in itertools.product(("RNN", "GRU", "LSTM"), ("forward", "reverse", "bidirectional")):
    recurrent(op, direction, initial=direction != "forward")
for op in ("RNN", "GRU", "LSTM"):
    recurrent(op, clip=0.5)
    recurrent(op, lengths=[4, 2])
    recurrent(op, "reverse", lengths=[4, 2])
recurrent("RNN", activations=["Affine"], activation_alpha=[0.5], activation_beta=[0.1])
recurrent("GRU", activations=["HardSigmoid", "Softsign"])
recurrent("GRU", "bidirectional", linear_before_reset=1, initial=True)
recurrent("LSTM", activations=["HardSigmoid", "Tanh", "Relu"])
recurrent("LSTM", "bidirectional", peepholes=True)
recurrent("LSTM", input_forget=1)

# Normalisation
for axis in (0, 1, -1):
    case("LayerNormalization", f(2, 3, 4), Const(f(*(2, 3, 4)[axis:])), axis=axis, epsilon=0.1)
    case("LpNormalization", f(3, 4, 2), axis=axis, p=1)
    case("Softmax", f(2, 3, 4), opset=11, axis=axis)
    case("Hardmax", f(2, 3, 4), opset=11, axis=axis)
    case("Softmax", f(2, 3, 4), opset=13, axis=axis)
case("LpNormalization", np.zeros((3, 4), np.float32))
case("LpNormalization", f(3, 1))
for word in ("none", "sum", "mean"):
    for loss in ("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"):
        case(loss, f(2, 3, 4), i(2, 4, low=0, high=3), reduction=word)
        case(loss, f(4, 3), i(4, low=0, high=3), Const(abs(f(3))), reduction=word, ignore_index=1)
case("LRN", f(2, 6, 3, 3), size=3, alpha=0.5, beta=0.6, bias=1.5)
case("GroupNormalization", f(2, 4, 3, 3), Const(f(4)), Const(f(4)), opset=21, num_groups=2, epsilon=0.1)
case("MeanVarianceNormalization", f(2, 3, 4, 4))
case("Softmax", np.array([[INF, 0, 1], [NAN, 0, 1], [-1000, 0, 1000]], np.float32), opset=13)
case("Softmax", f(0, 4), opset=13)
case("Softmax", f(4, 0), opset=13)

# Transforms
for parts, attributes in ((1, {}), (2, {}), (2, {"inverse": 1}), (1, {"onesided": 1}), (1, {"inverse": 1})):
    case("DFT", f(2, 9, 3, parts), opset=17, axis=1, **attributes)
    case("DFT", f(2, 9, 3, parts), None, Const(-2), opset=20, **attributes)
    for length in (6, 12):
        case("DFT", f(2, 9, parts), Const(length), opset=17, **attributes)
case("STFT", f(2, 33, 1), Const(4), Const(np.hanning(8), np.float32), opset=17)
case("STFT", f(2, 33, 1), Const(5), None, Const(8), opset=17)
case("STFT", f(1, 17, 1), Const(3), f(7), Const(7), opset=17, onesided=0)

# Attention over keys and values that were kept
for masks, attributes in (([None], {}), ([None], {"is_causal": 1}), ([f(3, 9)], {})):
    kept = [f(1, 2, 4, 4), f(1, 2, 4, 4)]
    case("Attention", f(1, 2, 3, 4), f(1, 2, 5, 4), f(1, 2, 5, 4), *masks, *kept, opset=23, outputs=3, **attributes)
case(
    "Attention",
    *(f(1, 3, 8), f(1, 5, 8), f(1, 5, 8), None, f(1, 2, 4, 4), f(1, 2, 4, 4)),
    opset=23,
    outputs=3,
    q_num_heads=2,
    kv_num_heads=2,
)

# Elements
for dtype in (np.int64, np.int32, np.int8):
    dividend, divisor = np.array([7, -7, 7, -7, 0, 5], dtype), np.array([2, 2, -2, -2, 3, 5], dtype)
    case("Div", dividend, divisor)
    case("Mod", dividend, divisor)
    case("Mod", dividend, divisor, fmod=1)
case("Div", np.array([250, 7], np.uint8), np.array([3, 2], np.uint8))
case("Mod", np.array([250, 7], np.uint8), np.array([3, 2], np.uint8))
case("Mod", np.array([5.3, -5.3, 5.3, -5.3], np.float32), np.array([2, 2, -2, -2], np.float32), fmod=1)
case("Pow", np.array([2, -3, 4, 0], np.int64), np.array([3, 3, 0, 0], np.int64))
case("Pow", np.array([2, -3, 4, 5], np.int32), ints(2))
case("Pow", np.array([2, 3, 4, 5], np.int64), real([0.5]))
case("Pow", np.array([-2.0, -1, 0, INF, NAN, 1, NAN], np.float32), np.array([0.5, INF, -1, 0, 0, NAN, 2], np.float32))
case("BitShift", np.array([1, 2, 200], np.uint8), np.array([1, 7, 9], np.uint8), direction="LEFT")
case("BitShift", np.array([1, 2, 200], np.uint8), np.array([1, 7, 9], np.uint8), direction="RIGHT")
case("BitShift", np.array([1, 6, 2**31], np.uint32), np.array([1, 1, 32], np.uint32), direction="RIGHT")
for op in ("Floor", "Ceil", "Round", "Sqrt", "Exp", "Log", "Tanh", "Sigmoid", "Relu", "Erf", "Softsign", "Sign", "Abs"):
    case(op, ODD)
case("Abs", np.array([200, 5], np.uint8))
case("Gelu", f(30), opset=20, approximate="tanh")
case("PRelu", f(2, 3, 4), Const(f(3, 1)))
for positive, negative in itertools.product((0, 1), (0, 1)):
    case("IsInf", ODD, opset=20, detect_positive=positive, detect_negative=negative)
case("Clip", ODD, real(-1), real(1))
case("Clip", ODD, real(1), real(-1))
case("Clip", bytes_(5), Const(2, np.uint8), Const(200, np.uint8))
case("Clip", f(4), np.array(-0.5, np.float32), np.array(0.5, np.float32))
for op in ("Max", "Min"):
    case(op, f(3, 1), f(1, 4), f(1))
    case(op, ODD, ODD[::-1].copy())
    case(op, bytes_(3), bytes_(3))
for element in (TensorProto.INT32, TensorProto.INT64, TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL):
    case("Cast", np.array([0, 0.5, -0.5, 1.9, -1.9, 100.7, 2.5], np.float32), to=element)
    case("Cast", np.array([0, 5, -5, 300, -300, 70000], np.int64), to=element)
case("Add", f(0, 4), f(1, 4))
case("Where", np.array([[True], [False]]), f(1, 3), f(2, 1))
case("Expand", f(3, 1), ints(1))
case("Expand", f(3, 1), ints(2, 1, 4))

# Reductions
for op in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"):
    case(f"Reduce{op}", abs(f(2, 3, 4)), ints(1, -1), keepdims=0)
    case(f"Reduce{op}", abs(f(2, 3, 4)))
    case(f"Reduce{op}", abs(f(2, 1, 3)), ints(1))
    case(f"Reduce{op}", abs(f()))
for op in ("Sum", "Prod", "Max", "Min", "Mean"):
    case(f"Reduce{op}", i(2, 3, dtype=np.int32), ints(1), keepdims=0)
case("ReduceSum", f(2, 0, 4), ints(1))
case("ReduceMax", np.array([[NAN, 1], [2, 3]], np.float32), ints(1))
case("ReduceLogSumExp", np.array([[1000, 1001], [-1000, -1001], [-INF, -INF]], np.float32), ints(1))
for op, last, axis in itertools.product(("ArgMax", "ArgMin"), (0, 1), (0, -1)):
    case(op, TIES, axis=axis, keepdims=last, select_last_index=last)
for largest in (0, 1):
    case("TopK", f(3, 6), ints(3), outputs=2, largest=largest)
    case("TopK", f(6, 3), ints(2), outputs=2, axis=0, largest=largest)
case("TopK", TIES, ints(2), outputs=2)
case("TopK", i(3, 6), ints(6), outputs=2)
for exclusive, reverse, axis in itertools.product((0, 1), (0, 1), (0, -1)):
    case("CumSum", f(3, 4), Const(axis, np.int64), exclusive=exclusive, reverse=reverse)

# Moves
for axis in (0, 1):
    case("Gather", f(4, 5), i(2, 3, low=-4, high=4), axis=axis)
    case("GatherElements", f(4, 5), i(4, 5, low=-4, high=4), axis=axis)
case("Gather", f(4, 5), i(0))
case("GatherND", f(3, 4, 5), i(3, 2, 1, low=-4, high=4), batch_dims=1)
for word in ("none", "add", "mul", "max", "min"):
    places = np.array([[0, 1, -1], [2, -3, 1]])
    case("ScatterElements", f(3, 3), places, f(2, 3), axis=0, reduction=word)
    case("ScatterND", f(4, 3), np.array([[0], [-1], [2]]), f(3, 3), reduction=word)
    if word != "none":
        case("ScatterElements", i(3, 3), np.array([[0, 0, 0], [0, 0, 1]]), i(2, 3), axis=0, reduction=word)
for axis in (0, -1, -2):
    case("OneHot", i(2, 3, low=-4, high=9), Const(4), real([0.5, 2.0]), axis=axis)
for upper, k in itertools.product((0, 1), (-1, 0, 1, 5, -5)):
    case("Trilu", f(3, 4), Const(k, np.int64), upper=upper)
for mode in ("constant", "reflect", "edge", "wrap"):
    case("Pad", f(3, 4), ints(1, 2, 0, 1), opset=19, mode=mode)
for mode in ("reflect", "edge", "wrap"):
    case("Pad", f(3, 6, 3), ints(1, 2, 0, 0, 3, 2), opset=19, mode=mode)
    case("Pad", f(2, 1, 5, 4), ints(1, 0, 2, -1, 0, 0, 1, 2), opset=19, mode=mode)
    case("Pad", f(2, 3, 4, 5, 3), ints(0, 0, 2, 1, 2, 0, 0, 1, 2, 1), opset=19, mode=mode)
case("Pad", f(3, 4), ints(-1, 2, 0, -1), opset=19)
case("Pad", f(3, 4), ints(1, 2), real(3.0), ints(1), opset=19)
case("Slice", f(5, 6), ints(4, -1), ints(-10, 0), ints(0, 1), ints(-1, -2))
case("Slice", f(5, 6), ints(3), ints(2))
for start, end, step in ((4, -3, -2), (9, -9, -1), (-9, -10, -3), (1, -(2**63) + 1, -1), (-1, 0, -2), (0, 5, -1)):
    case("Slice", f(3, 2, 4), ints(start, 0), ints(end, 9), ints(-2, 0), ints(step, 2))
    case("Slice", f(7), ints(start), ints(end), ints(0), ints(step))
case("Split", f(7, 3), outputs=3, num_outputs=3)
case("Split", f(6, 3), ints(1, 0, 5), outputs=3)
case("Concat", f(2, 3), f(2, 0), f(2, 1), axis=-1)
case("Tile", f(2, 3), ints(0, 1))
case("Reshape", f(2, 0, 4), ints(4, 0, 2), allowzero=1)
for mode in ("CRD", "DCR"):
    case("DepthToSpace", f(1, 8, 2, 3), blocksize=2, mode=mode)
    case("DepthToSpace", f(2, 12, 2, 3), blocksize=2, mode=mode)
    case("DepthToSpace", f(1, 9, 2, 3), blocksize=3, mode=mode)
case("ReverseSequence", f(4, 3, 2), Const([1, 4, 2], np.int64), batch_axis=1, time_axis=0)
case("ReverseSequence", f(3, 4, 2), Const([1, 4, 2], np.int64), batch_axis=0, time_axis=1)
case("Compress", f(3, 2), Const([False, True, True]), axis=0)
case("Unique", ints(2, 1, 1, 3), outputs=4)

# Resize
PLACES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
for mode, place, size in itertools.product(("nearest", "linear", "cubic"), PLACES, ((7, 8), (3, 2), (1, 3))):
    words = {"mode": mode, "coordinate_transformation_mode": place}
    case("Resize", f(1, 2, 4, 5), None, None, ints(1, 2, *size), opset=19, **words)
for rounding in ("round_prefer_ceil", "floor", "ceil"):
    case("Resize", f(1, 2, 4, 5), None, None, ints(1, 2, 7, 9), opset=19, mode="nearest", nearest_mode=rounding)
for mode in ("linear", "cubic"):
    case("Resize", f(1, 2, 4, 5), None, real([1, 1, 1.7, 0.6]), opset=19, mode=mode)
    case("Resize", f(1, 2, 4, 5), None, None, ints(1, 2, 3, 3), opset=19, mode=mode, antialias=1)
    case("Resize", f(1, 2, 4, 5), None, None, ints(8, 9), opset=19, mode=mode, axes=[2, 3])
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    case(
        "Resize",
        f(1, 2, 4, 5),
        real([0, 0, 0.2, 0.3, 1, 1, 0.7, 1.2]),
        None,
        ints(1, 2, 5, 6),
        opset=19,
        mode=mode,
        **crop,
    )
case(
    "Resize", f(1, 2, 4, 5), None, None, ints(1, 2, 7, 8), opset=19, mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5
)
case("Resize", f(1, 2, 7), None, real([1, 1, 1.5]), opset=19, mode="linear")
case("Upsample", f(1, 2, 4, 5), real([1, 1, 2, 3]), opset=9, mode="nearest")
case("Upsample", f(1, 2, 4, 5), real([1, 1, 2, 2]), opset=9, mode="linear")
for mode, padding, aligned in itertools.product(
    ("linear", "nearest", "cubic"), ("zeros", "border", "reflection"), (0, 1)
):
    words = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
    case("GridSample", f(1, 2, 4, 5), f(1, 3, 4, 2), opset=20, **words)
case("GridSample", f(2, 2, 3, 4, 5), f(2, 2, 3, 2, 3), opset=20, mode="linear")

# Matrices and quantised numbers
for left, right in (
    ((4,), (4,)),
    ((3, 4), (4,)),
    ((4,), (2, 4, 3)),
    ((2, 3, 4), (4,)),
    ((0, 4), (4, 3)),
    ((3, 0), (0, 4)),
):
    case("MatMul", f(*left), f(*right))
case("Gemm", f(3, 4), f(4, 5), f(3, 1), alpha=2.0, beta=0.5)
for left, right in (((1, 3, 4), (2, 4, 5)), ((2, 3, 4), (1, 4, 5)), ((3, 4), (2, 4, 5)), ((2, 3, 4), (2, 4, 5))):
    case("MatMul", f(*left), f(*right))
    case("MatMul", f(*left), Const(f(*right)))
case("MatMul", f(2, 1, 3, 4), Const(f(2, 3, 4, 5)))
case("MatMul", f(7, 2, 3, 4), Const(f(2, 4, 5)))
case("MatMul", f(70, 3, 4), Const(f(70, 4, 2)))
case("Gemm", f(3, 4), f(5, 4), transB=1, alpha=0.5)
case("Gemm", f(3, 4), Const(f(4, 5)), alpha=2.0, beta=0.5)
case("Gemm", f(3, 0), f(0, 5), f(5))
case("Gemm", f(6, 3), f(0, 3), f(), transB=1, beta=0.5)
for right in ((4, 0), (2, 4, 0)):
    case("MatMul", f(2, 3, 4), f(*right))
    case("MatMul", f(2, 3, 4), Const(f(*right)))
case("Gemm", f(4, 3), Const(f(5, 4)), Const(f(5)), transA=1, transB=1, alpha=0.5, beta=0.3)
case("Einsum", f(2, 3), f(3, 4), equation="ij,jk")
case("Einsum", f(2, 3), f(2, 3), equation="ij,ij->i")
rotations = (Const(f(5, 4)), Const(f(5, 4)), Const(np.tile(np.arange(5), (2, 1))))
case("RotaryEmbedding", f(2, 3, 5, 8), *rotations, opset=23)
case("RotaryEmbedding", f(2, 3, 5, 8), Const(f(2, 5, 4)), Const(f(2, 5, 4)), opset=23, interleaved=1)
case("MatMulInteger", bytes_(3, 4), bytes_(4, 5))
case("MatMulInteger", bytes_(3, 4), i(4, 5, dtype=np.int8), Const(100, np.uint8), Const(3, np.int8))
SCALED = (real(0.01), Const(100, np.uint8))
case("QLinearMatMul", bytes_(3, 4), *SCALED, bytes_(4, 5), *SCALED, real(0.05), Const(100, np.uint8))
case("QLinearMatMul", bytes_(2, 3, 4), *SCALED, bytes_(2, 4, 5), *SCALED, real(0.05), Const(100, np.uint8))
SMALL = (real(0.1), Const(100, np.uint8))
BYTES = Const(bytes_(6, 2, 3, 2))
PER_CHANNEL = (real([0.2, 0.1, 0.3, 0.2, 0.1, 0.05]), Const([0] * 6, np.int8))
for words in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    case("QLinearConv", bytes_(1, 2, 5, 6), *SMALL, BYTES, *SMALL, real(3.0), Const(100, np.uint8), auto_pad=words)
    case("ConvInteger", bytes_(1, 2, 5, 6), BYTES, Const(100, np.uint8), Const(3, np.uint8), auto_pad=words)
    case("ConvTranspose", f(1, 4, 5, 4), Const(f(4, 3, 3, 2)), strides=[2, 2], auto_pad=words)
case("ConvTranspose", f(2, 4, 3), Const(f(4, 3, 3)), Const(f(6)), group=2, strides=[3], pads=[0, 1])
case("ConvTranspose", f(1, 4, 3, 4), Const(f(4, 3, 2, 1)), group=2, strides=[2, 3], pads=[1, 0, 0, 2])
padded = {"group": 2, "dilations": [1, 2], "pads": [1, 0, 1, 2]}
signed = Const(i(6, 2, 3, 2, dtype=np.int8))
operands = (bytes_(1, 4, 5, 6), *SMALL, signed, *PER_CHANNEL, real(3.0), Const(100, np.uint8))
case("QLinearConv", *operands, Const(i(6, dtype=np.int32)), **padded)
case("ConvInteger", bytes_(1, 4, 5, 6), BYTES, Const(100, np.uint8), Const(3, np.uint8), **padded)
case("QuantizeLinear", f(3, 4) * 100, real(0.5))
case("QuantizeLinear", f(3, 4) * 10, real([0.5, 0.6, 0.7, 0.8]), Const([1, 2, 3, 4], np.uint8), axis=1)
case("QuantizeLinear", f(3, 4) * 10, real([0.5, 0.6, 0.7]), Const([1, 2, 3], np.int8), axis=0)
case("DequantizeLinear", bytes_(3, 4), real(0.5))
case("DequantizeLinear", i(2, 3, 4, dtype=np.int8), real([0.5, 0.6, 0.7]), Const([1, 2, 3], np.int8), axis=-2)
case("DequantizeLinear", bytes_(2, 3, 4), real([0.5, 0.6, 0.7, 1]), Const([1, 2, 3, 200], np.uint8), axis=-1)
case("DequantizeLinear", i(3, 4, dtype=np.int32), real(0.5))


def model_of(op, opset, cases):
    """One model of all cases, with its feeds."""
    nodes, inputs, outputs, constants, feeds = [], [], [], [], {}
    for number, (operands, attributes, count) in enumerate(cases):
        names = []
        for position, operand in enumerate(operands):
            name = f"x{number}.{position}" if operand is not None else ""
            names.append(name)
            if isinstance(operand, Const):
                constants.append(numpy_helper.from_array(operand.array, name))
            elif operand is not None:
                feeds[name] = np.asarray(operand)
                element = helper.np_dtype_to_tensor_dtype(feeds[name].dtype)
                inputs.append(helper.make_tensor_value_info(name, element, feeds[name].shape))
        while not names[-1]:
            names.pop()
        results = [f"y{number}.{position}" for position in range(count)]
        outputs += [onnx.ValueInfoProto(name=name) for name in results]
        nodes.append(helper.make_node(op, names, results, name=f"case{number}", **attributes))
    if not inputs:
        inputs.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, [1]))
        feeds["unused"] = np.zeros(1, np.float32)
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model), feeds


def runtime_results(model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds), strict=True))


@pytest.mark.parametrize(("op", "opset"), CASES, ids=lambda value: str(value))
def test_results_are_those_of_onnx_runtime(op, opset):
    model, feeds = model_of(op, opset, CASES[op, opset])
    compiled = sparsec.compile(model)
    got = compiled.run({spec.name: feeds[spec.name] for spec in compiled.inputs})
    for name, expected in runtime_results(model, feeds).items():
        operands, attributes, _ = CASES[op, opset][int(name[1:].split(".")[0])]
        about = f"{name}: {attributes}, {[getattr(operand, 'shape', None) for operand in operands]}"
        assert (got[name].shape, got[name].dtype) == (expected.shape, expected.dtype), about
        np.testing.assert_allclose(got[name], expected, rtol=1e-4, atol=1e-5, err_msg=about)


@pytest.mark.parametrize(
    ("op", "operands"), [("Unique", [f(5)]), ("NonZero", [f(5)]), ("NonMaxSuppression", [f(1, 4, 4), f(1, 2, 4)])]
)
def test_results_whose_shapes_depend_on_the_data_are_refused(op, operands):
    model, _ = model_of(op, 18, [(operands, {}, 1)])
    with pytest.raises(sparsec.UnsupportedOpError, match="depends on the data"):
        sparsec.compile(model)


def test_a_product_of_bytes_is_refused():
    model, _ = model_of("MatMul", 18, [([bytes_(2, 3), bytes_(3, 2)], {}, 1)])
    with pytest.raises(sparsec.UnsupportedOpError, match="MatMulInteger"):
        sparsec.compile(model)


@pytest.mark.parametrize(
    ("operands", "attributes", "reason"),
    [
        (
            [f(1, 2, 4, 5), None, np.array([1, 1, 1.5, 2], np.float32)],
            {"coordinate_transformation_mode": "align_corners"},
            "scales",
        ),
        ([f(1, 2, 4, 5), None, None, ints(1, 2, 7, 8)], {"coordinate_transformation_mode": "sideways"}, "sideways"),
    ],
)
def test_what_cannot_be_expressed_is_refused(operands, attributes, reason):
    model, _ = model_of("Resize", 19, [(operands, {"mode": "linear", **attributes}, 1)])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y0.0", TensorProto.FLOAT, [1, 2, 6, 10]))
    with pytest.raises(sparsec.UnsupportedOpError, match=rf"case0(.|\n)*{reason}"):
        sparsec.compile(model)
