"""Networks compiled for GPUs and run on one, against torch in float64."""

from __future__ import annotations

from pathlib import Path

import pytest

import sparsec

torch = pytest.importorskip("torch")
pytest.importorskip("torch_mlir")
pytestmark = pytest.mark.usefixtures("gpu", "nvrtc")

nn, functional = torch.nn, torch.nn.functional


class Encoder(nn.Module):  # type: ignore[misc]
    """A block of an encoder, with heads and residuals."""

    def __init__(self, hidden: int = 256, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))
        self.first, self.second = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.up, self.down = nn.Linear(hidden, 2 * hidden), nn.Linear(2 * hidden, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, hidden = x.shape
        q, k, v = (
            each(x).view(batch, tokens, self.heads, -1).transpose(1, 2) for each in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, hidden)
        x = self.first(x + self.out(seen))
        return self.second(x + self.down(functional.gelu(self.up(x))))


def perceptron() -> torch.nn.Module:
    net = nn.Sequential(nn.Linear(130, 257), nn.ReLU(), nn.Linear(257, 64), nn.SiLU(), nn.LayerNorm(64), nn.Softmax(-1))
    with torch.no_grad():
        net[0].weight[torch.rand_like(net[0].weight) < 0.7] = 0
    return net


def convolutions() -> torch.nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16, padding=1)),
        *(nn.Conv2d(16, 24, 1), nn.SiLU(), nn.MaxPool2d(2), nn.Conv2d(24, 8, 3, stride=2), nn.Flatten()),
        nn.Linear(8 * 7 * 7, 10),
    )


def words() -> torch.nn.Module:
    return nn.Sequential(nn.Embedding(50, 64), nn.Linear(64, 32), nn.ReLU())


NETWORKS = {
    "perceptron": (perceptron, (17, 130)),
    "encoder": (Encoder, (2, 33, 256)),
    "convolutions": (convolutions, (2, 3, 32, 32)),
    "words": (words, (3, 7)),
}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_networks_are_right(name: str, precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    net = make().eval()
    x = torch.randint(0, 50, shape) if name == "words" else torch.randn(shape)
    model = sparsec.compile(net, (x,), target="cuda", precision=precision)
    model.save(tmp_path / "net.sparsec")
    with torch.no_grad():
        expected = net.double()(x.double() if x.is_floating_point() else x)
    bound = {"fp16": 1e-2, "bf16": 6e-2}[precision] * float(expected.abs().max())
    for each in (model, sparsec.load(tmp_path / "net.sparsec")):
        assert float((each(x) - expected).abs().max()) < bound
        found = each(x.cuda())
        assert found.is_cuda
        assert float((found.cpu() - expected).abs().max()) < bound
