"""What the tests of several sparse convolution kernels draw from and append."""

from __future__ import annotations

from hypothesis import strategies as st

from sparsec.kernels.epilogue import Epilogue, EpilogueOperand, Reach
from sparsec.kernels.problem import Axis

TAIL = Epilogue(
    """func.func private @epilogue(%sum: f32, %bias: f32, %scale: f32, %residual: f32) -> f32 {
      %zero = arith.constant 0.0 : f32
      %0 = arith.addf %sum, %bias : f32
      %1 = arith.mulf %0, %scale : f32
      %2 = arith.addf %1, %residual : f32
      %3 = arith.maximumf %2, %zero : f32
      return %3 : f32
    }""",
    tuple(EpilogueOperand(reach, "f32") for reach in (Reach.CHANNEL, Reach.SCALAR, Reach.FULL)),
)


@st.composite
def axes(draw: st.DrawFn, most: int) -> Axis:
    """Any axis with at least one output."""
    stride, dilation, kernel = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 4))
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    least = max(1, dilation * (kernel - 1) + 1 - before - after)
    return Axis(draw(st.integers(least, max(least, most))), kernel, stride, dilation, before, after)
