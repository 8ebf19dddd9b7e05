"""Convolutions are right: emulated on a CPU, against torch's in float64."""

from __future__ import annotations

import numpy as np
import pytest
from emulation import COMPILER, EmulatedDevice, emulated_function
from halves import NUMPY, random_halves, rounding_bound
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec.cuda.code import program
from sparsec.cuda.products import convolution
from sparsec.cuda.products.convolution import ConvolutionWeight, Geometry
from sparsec.cuda.products.dense_mma import TileShape
from sparsec.cuda.products.dense_operands import Epilogue, Matrices
from sparsec.kernels.problem import Axis

torch = pytest.importorskip("torch")

SMALL = TileShape(64, 64, 2, 2, 2)


def axes() -> st.SearchStrategy[Axis]:
    fields = st.tuples(*(st.integers(low, high) for low, high in ((1, 12), (1, 3), (1, 2), (1, 2), (0, 2), (0, 2))))
    return fields.map(lambda each: Axis(*each)).filter(lambda axis: axis.out > 0)


@settings(max_examples=40)
@given(
    st.tuples(
        st.integers(1, 3), st.sampled_from([1, 3, 8, 16]), st.sampled_from([1, 5, 8, 40]), st.sampled_from([1, 2, 3])
    ),
    st.tuples(axes(), axes()),
    st.sampled_from([(1, True), (3, False)]),
    st.integers(0, 1 << 30),
)
def test_convolutions_are_right_emulated(
    sizes: tuple[int, int, int, int], axes: tuple[Axis, Axis], tail: tuple[int, bool], seed: int
) -> None:
    images, channels, filters, groups = sizes
    check(images, Geometry.whole(channels * groups, filters * groups, groups, axes), tail, seed)


@settings(max_examples=20)
@given(
    st.tuples(st.integers(1, 2), st.sampled_from([3, 8, 16]), st.sampled_from([1, 2])),
    st.tuples(axes(), axes()),
    st.integers(0, 1 << 30),
)
def test_convolutions_of_one_channel_are_right_emulated(
    sizes: tuple[int, int, int], axes: tuple[Axis, Axis], seed: int
) -> None:
    images, channels, of_channel = sizes
    check(images, Geometry.whole(channels, channels * of_channel, channels, axes), (1, False), seed)


def check(images: int, what: Geometry, tail: tuple[int, bool], seed: int) -> None:
    if COMPILER is None:
        pytest.skip("needs g++")
    generator = np.random.default_rng(seed)
    dtype = "bfloat16" if tail[0] == 1 else "float16"
    down, right = what.axes
    k = what.channels // what.groups * down.kernel * right.kernel
    x = random_halves(generator, (images, what.channels, down.size, right.size), dtype)
    w = random_halves(generator, (what.filters, what.channels // what.groups, down.kernel, right.kernel), dtype)
    residual = random_halves(generator, (images, what.filters, down.out, right.out), dtype)
    bias = generator.standard_normal(what.filters).astype(np.float32)
    on = EmulatedDevice()
    order = (0, 2, 3, 1)
    placed = [on.upload(each.transpose(order)) for each in (x, residual)]
    y = on.upload(np.full((residual.size + 8), np.nan, dtype=NUMPY[dtype]))
    activation, first = tail
    epilogue = Epilogue(bias.ctypes.data, activation, Matrices(placed[1].address, 0), first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "function", emulated_function)
        patch.setattr(convolution, "_RESIDENT", seed % 2)  # else this GPU is too large for several pixels of a thread
        weight = ConvolutionWeight.of(w.view(np.uint16), dtype, what, on)  # type: ignore[arg-type]
        shape = None if what.depthwise else SMALL
        weight.launch(images, placed[0].address, y.address, 0, epilogue=epilogue, shape=shape)
    found = on.array(y).view(NUMPY[dtype])
    assert np.isnan(found[residual.size :].astype(np.float32)).all()
    got = found[: residual.size].reshape(residual.transpose(order).shape).astype(np.float64)
    got = got.transpose(0, 3, 1, 2)
    sums, size = (
        convolved(a.astype(np.float64), b.astype(np.float64), what) for a, b in ((x, w), (np.abs(x), np.abs(w)))
    )
    expected = sums + bias[:, None, None] + (residual.astype(np.float64) if first else 0)
    if activation == 1:
        expected = np.maximum(expected, 0)
    elif activation == 3:
        expected = expected / (1 + np.exp(-expected))
    if not first:
        expected = expected + residual.astype(np.float64)
    assert (np.abs(got - expected) <= rounding_bound(expected, size, k, dtype)).all()


def convolved(x: np.ndarray, w: np.ndarray, what: Geometry) -> np.ndarray:  # type: ignore[type-arg]
    down, right = what.axes
    padded = np.pad(x, ((0, 0), (0, 0), (down.before, down.after), (right.before, right.after)))
    made: np.ndarray = torch.nn.functional.conv2d(  # type: ignore[type-arg]
        torch.from_numpy(padded),
        torch.from_numpy(w),
        stride=(down.stride, right.stride),
        dilation=(down.dilation, right.dilation),
        groups=what.groups,
    ).numpy()
    return made
