"""Networks whose loops share rows (`fuse_rows`, `relax_math`, `order_loops`), compiled and run, against torch in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sparsec

SHAPES = st.lists(st.sampled_from([1, 2, 3, 7, 16, 33, 64]), min_size=2, max_size=4).filter(
    lambda s: np.prod(s) < 200_000
)


class Rows(nn.Module):
    """A softmax of scaled scores, then a normalisation: maxima, sums and quotients along `axis`."""

    def __init__(self, axis: int, *, norm: bool) -> None:
        super().__init__()
        self.axis, self.norm = axis, norm

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = torch.softmax(x * 0.5 + y, self.axis)
        if not self.norm:
            return scores, x.amax(self.axis, keepdim=True) - y
        z = x - y
        centred = z - z.mean(self.axis, keepdim=True)
        return scores, centred * torch.rsqrt((centred * centred).mean(self.axis, keepdim=True) + 1e-3) + scores


def check(net: nn.Module, *inputs: torch.Tensor, tolerance: float = 3e-6) -> list[np.ndarray]:
    """The outputs, compared with those of torch in float64 relative to the largest."""
    found = sparsec.compile(net.eval(), inputs)(*(x.numpy() for x in inputs))
    results = found if isinstance(found, (tuple, list)) else [found]
    expected = net.double()(*(x.double() for x in inputs))
    for ours, theirs in zip(results, expected if isinstance(expected, tuple) else [expected], strict=True):
        reference = theirs.detach().numpy()
        scale = np.abs(reference[np.isfinite(reference)]).max(initial=1.0)
        np.testing.assert_allclose(np.asarray(ours), reference, atol=tolerance * scale, rtol=0)
    return [np.asarray(ours) for ours in results]


@settings(max_examples=8)
@given(shape=SHAPES, axis=st.integers(-4, -1), norm=st.booleans(), broadcast=st.booleans(), seed=st.integers(0, 99))
def test_random_rows(shape: list[int], axis: int, norm: bool, broadcast: bool, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(shape)
    y = torch.randn([1, *shape[1:]] if broadcast else shape)
    check(Rows(max(axis, -len(shape)), norm=norm), x, y, tolerance=2e-5)


@pytest.mark.parametrize(
    "row", [(np.nan, 0.0), (np.inf, 0.0), (-np.inf, 0.0), (-np.inf, -np.inf), (3e38, -3e38), (-0.0, 0.0)]
)
def test_special_values_stay_in_their_row(row: tuple[float, float]) -> None:
    x = torch.randn(40, 48)
    x[17, :] = row[1]
    x[17, 5] = row[0]
    (scores,) = check(nn.Softmax(-1), x)
    others = np.delete(scores, 17, 0)
    assert np.isfinite(others).all()
    assert np.isnan(scores[17]).any() == bool(torch.softmax(x, -1)[17].isnan().any())


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (lambda: nn.LayerNorm(33), (3, 20, 33)),
        (lambda: nn.LayerNorm([20, 33]), (3, 20, 33)),
        (lambda: nn.GroupNorm(4, 24), (2, 24, 9, 5)),
        (lambda: nn.InstanceNorm2d(24), (2, 24, 7, 7)),
        (lambda: nn.LogSoftmax(-1), (64, 50)),
        (lambda: nn.AdaptiveAvgPool2d(1), (1, 130, 7, 7)),
    ],
)
def test_layers(net: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    check(net(), torch.randn(shape), tolerance=1e-5)
