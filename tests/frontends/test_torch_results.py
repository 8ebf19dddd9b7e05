"""Torch operators compiled and run, against torch: scans, sorts, scatters, bytes, and what upstream has wrong."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils import _pytree as pytree

import sparsec

torch.manual_seed(0)
X = torch.randn(4, 7)
PLACES = torch.randint(0, 4, (4, 7))
BYTES = torch.tensor([250, 3, 7], dtype=torch.uint8)
IMAGE = torch.randn(1, 2, 8, 9)
HOLED = torch.where(X > 1, np.nan, torch.round(X))
WORDS, BAGS_BEGIN = torch.tensor([1, 3, 3, 3, 8, 0, 2, 3]), torch.tensor([0, 2, 4, 4, 7])
TABLE = torch.randn(9, 5)

CASES = {
    "topk": (lambda x: torch.topk(x, 3), X),
    "topk of the least": (lambda x: torch.topk(x, 3, dim=0, largest=False), X),
    "sort": (lambda x: torch.sort(x, dim=0, descending=True), X),
    "sort of many": (torch.sort, torch.randn(3, 200)),
    "argsort": (torch.argsort, X),
    "cumsum": (lambda x: torch.cumsum(x, 1), X),
    "cumsum of integers": (lambda x: torch.cumsum(x, 0), PLACES),
    "cumprod": (lambda x: torch.cumprod(x, 1), X),
    "scatter_add": (lambda x, i: torch.zeros(4, 7).scatter_add(0, i, x), X, PLACES),
    "scatter_reduce": (lambda x, i: torch.zeros(4, 7).scatter_reduce(0, i, x, "amax"), X, PLACES),
    "index_put": (lambda x, i: torch.index_put(x, (i,), torch.zeros(7)), X, torch.tensor([1, 2])),
    "index_put of a number by a mask": (
        lambda x: (
            torch.index_put(x, (x > 1,), torch.tensor(0.5)),
            torch.index_put(x, (x[:, 0] > 0,), torch.ones(1), accumulate=True),
        ),
        X,
    ),
    "index_add": (lambda x, i: torch.index_add(x, 0, i, torch.ones(2, 7)), X, torch.tensor([1, 1])),
    "gelu with tanh": (lambda x: functional.gelu(x, approximate="tanh"), X),
    "gelu": (functional.gelu, X),
    "logsumexp": (lambda x: torch.logsumexp(x * 1000, 1), X),
    "maximum": (torch.maximum, torch.tensor([np.nan, 1.0]), torch.tensor([0.0, np.nan])),
    "clamp": (lambda x: torch.clamp(x, 0, 1), torch.tensor([np.nan, 2.0])),
    "max_pool2d with positions": (lambda x: functional.max_pool2d(x, 3, 2, 1, return_indices=True), IMAGE),
    "avg_pool2d": (lambda x: functional.avg_pool2d(x, 2, 3, 1, ceil_mode=True, count_include_pad=False), IMAGE),
    "avg_pool2d of rows": (lambda x: functional.avg_pool2d(x, (2, 1), ceil_mode=True), IMAGE),
    "interpolate": (lambda x: functional.interpolate(x, scale_factor=1.7, mode="bicubic", align_corners=True), IMAGE),
    "division of bytes": (lambda x: torch.div(x, 3, rounding_mode="floor"), BYTES),
    "remainder of bytes": (lambda x: x % 3, BYTES),
    "magnitude of bytes": (lambda x: torch.abs(x) + torch.clamp(x, 2, 200), BYTES),
    "greatest byte": (lambda x: x.max(), BYTES),
    "product of bytes": (lambda x: x @ x, torch.ones(3, 3, dtype=torch.int8)),
    "scatter from the last axis": (lambda x, i: x.scatter(-1, i, 1.5), X, PLACES),
    "scatter of a source": (lambda x, i: torch.zeros_like(x).scatter(-1, i, x), X, torch.argsort(X)),
    "scatter_add from the last axis": (lambda x, i: x.scatter_add(-1, i, x), X, PLACES),
    "scatter_reduce from the last axis": (lambda x, i: x.scatter_reduce(-1, i, x, "prod"), X, PLACES),
    "scatters that share what they add": (
        lambda x, i: (
            torch.zeros_like(x).scatter_add(0, i, torch.ones_like(x)),
            x.scatter_add(0, i, x) + torch.zeros_like(x).scatter_add(0, i, torch.ones_like(x)),
        ),
        *(X, PLACES),
    ),
    "scatter_reduce of the source alone": (
        lambda x, i: [
            x.scatter_reduce(1, i, x + 1, word, include_self=False) for word in ("sum", "prod", "mean", "amax", "amin")
        ],
        *(X, PLACES),
    ),
    "means of a scatter": (lambda x, i: x.scatter_reduce(-1, i, x, "mean"), X, PLACES),
    "means of a scatter of integers": (
        lambda i: [(-i).scatter_reduce(0, i, -i, "mean", include_self=own) for own in (False, True)],
        PLACES,
    ),
    "router": (lambda x: torch.zeros_like(x).scatter(-1, torch.topk(x, 2, -1)[1], torch.topk(x, 2, -1)[0]), X),
    "negative pads": (lambda x: functional.pad(x, (-1, 2, 1, -1), value=3.0), IMAGE),
    "roll": (lambda x: torch.roll(x, (2, -9, 0), (1, -1, 0)), IMAGE),
    "roll of all": (lambda x: torch.roll(x, 5), X),
    "experts": (lambda x: torch.matmul(x.unsqueeze(0), torch.ones(3, 7, 2)), X),
    "weighted bags": (
        lambda i, o, w, t: functional.embedding_bag(i, t, o, mode="sum", per_sample_weights=w),
        *(WORDS, BAGS_BEGIN, torch.randn(8), TABLE),
    ),
    "bags with padding": (
        lambda i, o, t: [
            functional.embedding_bag(i, t, o, mode=mode, padding_idx=3) for mode in ("sum", "mean", "max")
        ],
        *(WORDS, BAGS_BEGIN, TABLE),
    ),
    "bags of equal sizes": (torch.nn.EmbeddingBag(9, 5), WORDS.reshape(2, 4)),
    "bags that say where the last ends": (
        lambda i, o, t: functional.embedding_bag(i, t, o, include_last_offset=True),
        *(WORDS, torch.tensor([0, 3, 8]), TABLE),
    ),
    "running extremes": (lambda x: (*torch.cummax(x, 1), *torch.cummin(x, 0)), HOLED),
    "running extremes of integers": (lambda x: (*torch.cummax(x, -1), *torch.cummin(x, 1)), PLACES),
    "median": (lambda x: (*torch.median(x, 1), *torch.median(x, 0, keepdim=True), torch.median(x)), X),
    "median of what is no number": (lambda x: (torch.median(x, 1)[0], torch.median(x)), HOLED),
    "median of integers": (lambda x: torch.median(x, -1)[0], PLACES),
    "histogram": (lambda x: (torch.histc(x, 5, -1, 1), torch.histc(x, 4), torch.histc(x[0, :1], 3)), X),
    "maxima of uneven windows": (lambda x: functional.adaptive_max_pool2d(x, (3, 4), return_indices=True), IMAGE),
    "maxima of uneven rows": (lambda x: functional.adaptive_max_pool1d(x, 3), X),
    "constants compared with numbers": (
        lambda x: [
            torch.where(compare(torch.full((7,), fill), number), x, 0)
            for compare in (torch.eq, torch.ne, torch.lt, torch.le, torch.gt, torch.ge)
            for fill, number in ((1.0, 1), (2.5, 2), (2.5, 3), (3, 2.5), (3, 3.0), (2, 2))
        ],
        X,
    ),
    "numbers compared with other types": (lambda x, i: (x > 0, i <= 1.5, i == 2.0, x != 1), X, PLACES),
    "attention in one view": (
        lambda x: functional.scaled_dot_product_attention(x, x, x, is_causal=True).transpose(1, 2).reshape(6, 8),
        torch.randn(2, 2, 3, 4),
    ),
    "lstm": (torch.nn.LSTM(7, 5, batch_first=True, bidirectional=True), torch.randn(2, 4, 7)),
}


class Module(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *operands):
        return self.function(*operands)


@pytest.mark.filterwarnings("ignore")  # export warns about torch's own code
@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_torch(name):
    function, *operands = CASES[name]
    module = function if isinstance(function, torch.nn.Module) else Module(function)
    compiled = sparsec.compile(module, example_inputs=tuple(operands))
    feeds = {spec.name: operand.numpy() for spec, operand in zip(compiled.inputs, operands, strict=True)}
    with torch.no_grad():
        expected = pytree.tree_leaves(module(*operands))
    for got, wanted in zip(compiled.run(feeds).values(), expected, strict=True):
        assert got.shape == tuple(wanted.shape)
        np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_what_is_random_is_refused() -> None:
    with pytest.raises(sparsec.errors.UnsupportedOpError, match="random"):
        sparsec.compile(Module(lambda x: x + torch.rand_like(x)), example_inputs=(X,))
