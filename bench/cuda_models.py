"""Whole networks on an NVIDIA GPU: compiled by sparsec against torch, eager and compiled, dense in float16.

BERT-base with 2:4 linear layers, 32 sequences of 128 tokens; a Llama-shaped block (hidden 4096, feed-forward 11008, 32 heads)
that makes one token for each of some sequences of 512; ResNet-50 and MobileNetV2 with pictures of 224 x 224, which torch has with
channels last. Weights are random, nothing is downloaded. All contestants are CUDA graphs, and take turns; errors are relative to
the norm of the result in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import torch
from torch import nn
from torch.nn import functional

import sparsec
from bench.convolutional import resnet50
from bench.cuda import LOUD, race
from bench.cuda_results import keep, machine_line
from bench.models_zoo import mobilenet_v2

RESULTS = Path(__file__).parent / "results" / "cuda_models.json"
VOCABULARY = 30522
_IMAGES = 4  # axes


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A network: times in microseconds, ratios to sparsec's, `error` relative to the norm of the result in float32."""

    network: str
    pattern: str
    microseconds: float
    spread: float
    eager_microseconds: float
    compiled_microseconds: float
    ratio_eager: float
    ratio_compiled: float
    sparse_layers: int
    layers: int
    error: float


@dataclass(frozen=True, slots=True)
class Network:
    """A network to time: how it is made, and the pattern of the weights of its linear layers."""

    name: str
    make: Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]
    pattern: str


class Attention(nn.Module):
    """Of BERT."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [batch, tokens, hidden]."""
        batch, tokens, hidden = x.shape
        q, k, v = (
            each(x).view(batch, tokens, self.heads, hidden // self.heads).transpose(1, 2)
            for each in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(q, k, v)
        made: torch.Tensor = self.out(seen.transpose(1, 2).reshape(batch, tokens, hidden))
        return made


class Layer(nn.Module):
    """Of BERT."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.attention, self.first, self.second = Attention(hidden, heads), nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [batch, tokens, hidden]."""
        x = self.first(x + self.attention(x))
        made: torch.Tensor = self.second(x + self.down(functional.gelu(self.up(x))))
        return made


class Bert(nn.Module):
    """BERT's encoder with its embeddings."""

    def __init__(self, layers: int, hidden: int = 768, heads: int = 12, vocabulary: int = VOCABULARY) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, hidden), nn.Embedding(512, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.layers = nn.ModuleList(Layer(hidden, heads) for _ in range(layers))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens [batch, tokens]."""
        x: torch.Tensor = self.norm(self.words(tokens) + self.places.weight[: tokens.shape[1]])
        for layer in self.layers:
            x = layer(x)
        return x


class Decoder(nn.Module):
    """A Llama-shaped block: Q, K and V in one linear layer, gate and up in another; no cache is copied."""

    def __init__(self, hidden: int = 4096, feed_forward: int = 11008, heads: int = 32) -> None:
        super().__init__()
        self.heads, self.size = heads, hidden // heads
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.gate_up = nn.Linear(hidden, 2 * feed_forward, bias=False)
        self.down = nn.Linear(feed_forward, hidden, bias=False)
        self.first, self.second = nn.RMSNorm(hidden, eps=1e-5), nn.RMSNorm(hidden, eps=1e-5)

    def forward(
        self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x [batch, hidden], the new tokens; keys and values [batch, heads, tokens before, size]. Returns x, key, value."""
        q, k, v = self.qkv(self.first(x)).view(-1, 3, self.heads, 1, self.size).unbind(1)
        before = q @ keys.transpose(2, 3)
        scores = torch.cat([before, (q * k).sum(dim=3, keepdim=True)], dim=3) * self.size**-0.5
        shares = scores.softmax(dim=3)
        seen = shares[..., :-1] @ values + shares[..., -1:] * v
        x = x + self.out(seen.reshape(-1, self.heads * self.size))
        gate, up = self.gate_up(self.second(x)).chunk(2, dim=1)
        return x + self.down(functional.silu(gate) * up), k, v


def bert(layers: int = 12, vocabulary: int = VOCABULARY) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """BERT-base with 2:4 linear layers, and 32 sequences of 128 tokens."""
    torch.manual_seed(0)
    net = Bert(layers, vocabulary=vocabulary)
    for each in net.modules():
        if isinstance(each, nn.Linear):
            _keep(each, _two_of_four(each.weight))
    return net.eval(), (torch.randint(0, vocabulary, (32, 128)),)


def decoder(batch: int, zeros: float) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The block with that share of zeros at random places."""
    torch.manual_seed(0)
    net = Decoder()
    for each in net.modules():
        if isinstance(each, nn.Linear):
            _keep(each, torch.rand_like(each.weight) >= zeros)
    keys, values = torch.randn(2, batch, net.heads, 511, net.size).unbind(0)
    return net.eval(), (torch.randn(batch, 4096), keys, values)


def pictures(make: Callable[[], nn.Module], batch: int, pattern: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """A network of convolutions, of which those of single pixels are 2:4 if that is the pattern."""
    torch.manual_seed(0)
    net = make()
    for each in net.modules():
        if isinstance(each, nn.Conv2d):
            nn.init.kaiming_normal_(each.weight)
            if pattern == "2:4" and each.kernel_size == (1, 1):
                _keep(each, _two_of_four(each.weight.flatten(1)).view(each.weight.shape))
        elif isinstance(each, nn.BatchNorm2d):
            nn.init.uniform_(each.weight, 0.2, 0.5)  # so that sums of residuals stay small
            nn.init.normal_(each.bias, std=0.1)
    return net.eval(), (torch.randn(batch, 3, 224, 224),)


NETWORKS = (
    Network("BERT-base, 32 x 128 tokens", bert, "2:4"),
    *(
        Network(f"Llama-shaped block, {batch} token{'s' * (batch > 1)}", partial(decoder, batch, zeros), f"{zeros:.0%}")
        for zeros in (0.5, 0.7)
        for batch in (1, 8)
    ),
    *(
        Network(f"{name}, {batch} picture{'s' * (batch > 1)}", partial(pictures, make, batch, pattern), pattern)
        for name, make, pattern in (
            ("ResNet-50", resnet50, "dense"),
            ("ResNet-50", resnet50, "2:4"),
            ("MobileNetV2", mobilenet_v2, "dense"),
        )
        for batch in (1, 32)
    ),
)


def run(json_file: Path, networks: Sequence[Network] = NETWORKS) -> int:
    """Time all networks, print the table, keep it; returns the exit code: 1 if a result was wrong."""
    click.echo(machine_line())
    click.echo(
        f"{'network':<34} {'zeros':>5} {'us':>8} {'eager':>8} {'compiled':>8} {'ratios':>11} {'sparse':>7} {'error':>8}"
    )
    rows: list[ModelRow] = []
    for network in networks:
        net, inputs = network.make()
        model = sparsec.compile(copy.deepcopy(net).half(), tuple(map(_half, inputs)), target="cuda")
        row = time_network(network, net, inputs, model)
        rows.append(row)
        click.echo(text_of(row))
        keep(json_file, rows)
    return 0 if all(row.error < LOUD for row in rows) else 1


@torch.no_grad()
def time_network(
    network: Network, net: nn.Module, inputs: Sequence[torch.Tensor], model: sparsec.CompiledModel
) -> ModelRow:
    """Check a network that was compiled in float16, and time it against torch's."""
    given = [each.cuda() for each in inputs]
    halves = list(map(_half, given))
    expected = _first(copy.deepcopy(net).cuda()(*given))
    dense = net.half().cuda()
    for each in dense.modules():
        if isinstance(each, nn.Conv2d):
            each.weight.data = each.weight.data.to(memory_format=torch.channels_last)
    compiled = torch.compile(dense)
    own = [each.to(memory_format=torch.channels_last) if each.dim() == _IMAGES else each for each in halves]
    error = float((_first(model(*halves)).double() - expected.double()).norm() / expected.double().norm())
    times = race([[partial(model, *halves)], [partial(dense, *own)], [partial(compiled, *own)]])
    (ours, spread), (eager, _), (inductor, _) = times
    layers = model.report.layers
    return ModelRow(
        *(
            network.name,
            network.pattern,
            ours * 1e6,
            spread,
            eager * 1e6,
            inductor * 1e6,
            eager / ours,
            inductor / ours,
        ),
        *(sum(layer.format != "dense" for layer in layers), len(layers), error),
    )


def text_of(row: ModelRow) -> str:
    """A line of the table."""
    return (
        f"{row.network:<34} {row.pattern:>5} {row.microseconds:>8.1f} {row.eager_microseconds:>8.1f}"
        f" {row.compiled_microseconds:>8.1f} {row.ratio_eager:>5.2f} {row.ratio_compiled:>5.2f}"
        f" {row.sparse_layers:>3}/{row.layers:<3} {row.error:>8.1e}"
    )


def _half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _first(made: object) -> torch.Tensor:
    result = made[0] if isinstance(made, tuple) else made
    assert isinstance(result, torch.Tensor)
    return result


def _two_of_four(weight: torch.Tensor) -> torch.Tensor:
    """The two largest of each four."""
    fours = weight.detach().view(weight.shape[0], -1, 4).abs()
    kept = torch.zeros_like(fours, dtype=torch.bool).scatter_(2, fours.topk(2, dim=2).indices, True)
    return kept.view(weight.shape)


def _keep(layer: nn.Linear | nn.Conv2d, kept: torch.Tensor) -> None:
    with torch.no_grad():
        layer.weight[~kept] = 0
