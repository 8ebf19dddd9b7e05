"""A Llama-shaped block on an NVIDIA GPU, decoding: dense in float16 against the same block after `sparsec.cuda.convert`.

Hidden 4096, feed-forward 11008, 32 heads; one new token for each of `batch` sequences of 512 tokens. Both are CUDA graphs of
torch's own kernels but for the linear layers; the dense weights are eight times the L2.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import torch
from torch.nn import functional

from bench.cuda import LOUD, race
from bench.cuda_results import keep, machine_line
from sparsec.cuda import convert

RESULTS = Path(__file__).parent / "results" / "cuda_block.json"
HIDDEN, FEED_FORWARD, HEADS, CONTEXT = 4096, 11008, 32, 512


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block's step: times in microseconds, `error` of the sparse one relative to the norm of the dense one's result."""

    batch: int
    sparsity: float
    microseconds: float
    spread: float
    dense_microseconds: float
    dense_spread: float
    ratio: float
    sparse_layers: int
    error: float


class Block(torch.nn.Module):
    """With Q, K and V in one linear layer, gate and up in another."""

    norms: torch.Tensor
    cache: torch.Tensor

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.qkv = torch.nn.Linear(HIDDEN, 3 * HIDDEN, bias=False)
        self.out = torch.nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.gate_up = torch.nn.Linear(HIDDEN, 2 * FEED_FORWARD, bias=False)
        self.down = torch.nn.Linear(FEED_FORWARD, HIDDEN, bias=False)
        self.register_buffer("norms", torch.ones(2, HIDDEN))
        self.register_buffer("cache", torch.randn(2, batch, HEADS, CONTEXT, HIDDEN // HEADS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [batch, HIDDEN]: the new tokens."""
        q, k, v = (
            self.qkv(functional.rms_norm(x, (HIDDEN,), self.norms[0])).view(-1, 3, HEADS, 1, HIDDEN // HEADS).unbind(1)
        )
        self.cache[0, :, :, -1:], self.cache[1, :, :, -1:] = k, v
        seen = functional.scaled_dot_product_attention(q, self.cache[0], self.cache[1])
        x = x + self.out(seen.reshape(-1, HIDDEN))
        gate, up = self.gate_up(functional.rms_norm(x, (HIDDEN,), self.norms[1])).chunk(2, dim=1)
        made: torch.Tensor = x + self.down(functional.silu(gate) * up)
        return made


def run(json_file: Path) -> int:
    """Time all cells, print the table, keep it; returns the exit code: 1 if a result was wrong."""
    click.echo(machine_line())
    click.echo(f"{'batch':>5} {'zeros':>6} {'us':>8} {'dense us':>8} {'ratio':>6} {'layers':>6} {'error':>8}")
    found = []
    for row in rows():
        found.append(row)
        click.echo(
            f"{row.batch:>5} {row.sparsity:>6.0%} {row.microseconds:>8.1f} {row.dense_microseconds:>8.1f}"
            f" {row.ratio:>6.2f} {row.sparse_layers:>6} {row.error:>8.1e}"
        )
        keep(json_file, found)
    return 0 if all(row.error < LOUD for row in found) else 1


@torch.no_grad()
def rows() -> Iterator[BlockRow]:
    """All cells."""
    for sparsity in (0.5, 0.7):
        for batch in (1, 8):
            dense = Block(batch).to("cuda", torch.float16)
            for each in dense.parameters():
                each[torch.rand_like(each) < sparsity] = 0
            x = torch.randn(batch, HIDDEN, device="cuda", dtype=torch.float16)
            expected = dense(x)
            sparse = convert(copy.deepcopy(dense), x)
            error = float((sparse(x) - expected).double().norm() / expected.double().norm())
            (ours, spread), (theirs, their_spread) = race([[partial(sparse, x)], [partial(dense, x)]])
            layers = sum(
                type(each) is not torch.nn.Linear for each in (sparse.qkv, sparse.out, sparse.gate_up, sparse.down)
            )
            yield BlockRow(
                *(batch, sparsity, ours * 1e6, spread, theirs * 1e6, their_spread, theirs / ours, layers, error)
            )
