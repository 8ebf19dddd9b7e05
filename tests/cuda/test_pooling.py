"""Maxima of windows are right: emulated on a CPU, against torch's."""

from __future__ import annotations

import numpy as np
import pytest
from emulation import COMPILER, EmulatedDevice, emulated_function
from halves import NUMPY, random_halves
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec.cuda.code import program
from sparsec.cuda.products import pooling
from sparsec.kernels.problem import Axis

torch = pytest.importorskip("torch")


def axes() -> st.SearchStrategy[Axis]:
    fields = st.tuples(*(st.integers(low, high) for low, high in ((1, 9), (1, 3), (1, 3), (1, 2), (0, 1), (0, 2))))
    return fields.map(lambda each: Axis(*each)).filter(lambda axis: axis.out > 0 and axis.before < axis.kernel)


@settings(max_examples=30)
@given(
    st.tuples(st.integers(1, 3), st.sampled_from([1, 8, 12, 24])),
    st.tuples(axes(), axes()),
    st.sampled_from(["float16", "bfloat16"]),
    st.integers(0, 1 << 30),
)
def test_maxima_are_right_emulated(sizes: tuple[int, int], axes: tuple[Axis, Axis], dtype: str, seed: int) -> None:
    if COMPILER is None:
        pytest.skip("needs g++")
    (images, channels), (down, right) = sizes, axes
    x = random_halves(np.random.default_rng(seed), (images, down.size, right.size, channels), dtype)
    x[0, 0, 0, 0] = np.nan
    on, shape = EmulatedDevice(), (images, down.out, right.out, channels)
    given_x, y = on.upload(x), on.upload(np.full(np.prod(shape) + 8, 7, dtype=NUMPY[dtype]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "function", emulated_function)
        pooling.launch(on, dtype, images, channels, axes, given_x.address, y.address, 0)  # type: ignore[arg-type]
    found = on.array(y).view(NUMPY[dtype]).astype(np.float64)
    assert (found[np.prod(shape) :] == 7).all()
    expected = _maxima(torch.from_numpy(x.astype(np.float64)).permute(0, 3, 1, 2), down, right)
    np.testing.assert_array_equal(found[: np.prod(shape)].reshape(shape), expected.permute(0, 2, 3, 1).numpy())


def _maxima(x: torch.Tensor, down: Axis, right: Axis) -> torch.Tensor:
    pads = (right.before, right.after, down.before, down.after)
    padded = torch.nn.functional.pad(x, pads, value=-torch.inf)
    steps, apart = (down.stride, right.stride), (down.dilation, right.dilation)
    made: torch.Tensor = torch.nn.functional.max_pool2d(padded, (down.kernel, right.kernel), steps, 0, apart)
    return made
