"""Samples of a batch, one after the other: wherever these do not meet, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import sparsec
from sparsec.passes import split_batch
from sparsec.runtime.tensors import Array

TURNS = "one after the other"


class Graph(nn.Module):
    """A function as a module, with convolutions and linear layers to use."""

    def __init__(self, body: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = body
        self.convolution = nn.Conv2d(6, 6, 3, padding=1)
        self.strided = nn.Conv2d(6, 10, 3, stride=2, bias=False)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.linear = nn.Linear(7, 5)
        self.constant = nn.Parameter(torch.randn(3, 6, 1, 1))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        return self.body(self, *inputs)


def _residual(net: Graph, x: torch.Tensor) -> torch.Tensor:
    y = torch.relu(net.convolution(x) + x)
    return torch.relu(net.convolution(net.depthwise(y)) * y)


def _classifier(net: Graph, x: torch.Tensor) -> torch.Tensor:
    y = torch.max_pool2d(torch.relu(net.strided(x)), 2, 1, 0)
    return net.linear(y.mean((2, 3))[:, :7])


APART: dict[str, Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]] = {
    "a convolution": lambda net, x: net.convolution(x),
    "residual": _residual,
    "a classifier": _classifier,
    "a linear layer of rows": lambda net, x: torch.relu(net.linear(x)),
    "a product of two activations": lambda net, x: torch.softmax(x @ x.transpose(2, 3), -1) @ x,
    "normalised channels": lambda net, x: torch.layer_norm(x, x.shape[1:]),
    "rows of each sample": lambda net, x: net.linear(x.reshape(3, -1, 7)),
    "rows of all samples": lambda net, x: net.linear(x.reshape(-1, 7)),
    "a plain function": lambda net, x: torch.tanh(x),
    "channels of two": lambda net, x: torch.cat([net.convolution(x), net.depthwise(x)], 1),
    "two results": lambda net, x: (net.convolution(x), x.amax((1, 2))),
    "two inputs": lambda net, x, z: net.convolution(x) + z,
}
TOGETHER: dict[str, Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]] = {
    "the mean of a batch": lambda net, x: net.convolution(x) - x.mean(0),
    "softmax over samples": lambda net, x: torch.softmax(net.convolution(x), 0),
    "sums up to a sample": lambda net, x: torch.cumsum(net.convolution(x), 0),
    "a constant of each sample": lambda net, x: net.convolution(x) + net.constant,
    "another order of axes": lambda net, x: net.convolution(x).transpose(0, 1),
    "every third row": lambda net, x: net.linear(x.reshape(6, 3, -1).transpose(0, 1).reshape(-1, 7)),
    "the first sample": lambda net, x: net.convolution(x) + x[:1],
    "backwards": lambda net, x: net.convolution(x).flip(0),
    "one batch behind another": lambda net, x: torch.cat([net.convolution(x), x]),
    "zeros behind a batch": lambda net, x: torch.nn.functional.pad(net.convolution(x), (0, 0, 0, 0, 0, 0, 0, 3)),
    "numbers of samples": lambda net, x: x * torch.arange(3).reshape(3, 1, 1, 1),
    "a product over samples": lambda net, x: torch.einsum("bcij,dcij->bd", x, x),
    "one input for all": lambda net, x, z: net.convolution(x) + z[0],
}


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small activations are worth it, too."""
    monkeypatch.setattr(split_batch, "_saved_ns", lambda *_: 1e9)


def _check(body: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]) -> sparsec.CompiledModel:
    """Compile and run a network of a batch of 3, compare, and return the model."""
    net = Graph(body).eval()
    inputs = [torch.randn(3, 6, 7, 7) for _ in range(body.__code__.co_argcount - 1)]
    model = sparsec.compile(net, tuple(inputs))
    with torch.no_grad():
        expected = net(*inputs)
    feeds = {spec.name: each.numpy() for spec, each in zip(model.inputs, inputs, strict=True)}
    found: list[Array] = list(model.run(feeds).values())
    for one, other in zip(found, [expected] if isinstance(expected, torch.Tensor) else expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-4)
    return model


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", APART)
def test_samples_take_turns(name: str) -> None:
    model = _check(APART[name])
    assert any(TURNS in note for note in model.report.notes)
    assert len(model.calls) % 3 == 0


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", TOGETHER)
def test_samples_that_meet_stay_together(name: str) -> None:
    model = _check(TOGETHER[name])
    assert not any(TURNS in note for note in model.report.notes)


def test_small_activations_stay_together() -> None:
    model = _check(APART["residual"])
    assert not any(TURNS in note for note in model.report.notes)


@pytest.mark.usefixtures("always")
def test_many_samples_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_batch, "_MOST_TURNS", 2)
    model = _check(APART["residual"])
    assert not any(TURNS in note for note in model.report.notes)


def test_products_that_share_weights_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations may be large: a linear layer of one token at a time would read its weight again for each."""
    monkeypatch.setattr(split_batch, "_CACHED", 1e9)
    linear = nn.Linear(256, 256)
    model = sparsec.compile(nn.Sequential(linear, nn.ReLU(), linear).eval(), (torch.randn(64, 256),))
    assert not any(TURNS in note for note in model.report.notes)


@pytest.mark.usefixtures("always")
def test_a_batch_of_one_is_no_batch() -> None:
    net = Graph(APART["residual"]).eval()
    model = sparsec.compile(net, (torch.randn(1, 6, 7, 7),))
    assert not any(TURNS in note for note in model.report.notes)


@pytest.mark.usefixtures("always")
def test_threads_and_predictions() -> None:
    net = Graph(APART["residual"]).eval()
    whole = sparsec.compile(net, (torch.randn(1, 6, 7, 7),))
    model = sparsec.compile(net, (torch.randn(3, 6, 7, 7),), threads=2)
    x = np.random.default_rng(0).standard_normal((3, 6, 7, 7)).astype(np.float32)
    name, one = model.inputs[0].name, whole.inputs[0].name
    (found,) = model.run({name: x}).values()
    expected = [next(iter(whole.run({one: x[at : at + 1]}).values())) for at in range(3)]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    assert len(model.report.layers) == len(whole.report.layers)
