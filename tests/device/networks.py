"""Small networks for tests of whole models on GPUs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Encoder(nn.Module):
    """A block of BERT; attention spelt out, or as torch's own function."""

    def __init__(self, hidden: int = 64, heads: int = 4, *, own: bool = False) -> None:
        super().__init__()
        self.heads, self.own = heads, own
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))
        self.up, self.down = nn.Linear(hidden, 2 * hidden), nn.Linear(2 * hidden, hidden)
        self.first, self.second = nn.LayerNorm(hidden), nn.LayerNorm(hidden)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        batch, tokens, hidden = x.shape
        size = hidden // self.heads
        q, k, v = (
            each(x).view(batch, tokens, self.heads, size).transpose(1, 2) for each in (self.query, self.key, self.value)
        )
        if self.own:
            seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            seen = torch.softmax(q @ k.transpose(-1, -2) / size**0.5 + mask, -1) @ v
        x = self.first(x + self.out(seen.transpose(1, 2).reshape(batch, tokens, hidden)))
        made: torch.Tensor = self.second(x + self.down(functional.gelu(self.up(x))))
        return made


class Pictures(nn.Module):
    """Convolutions with a residual, groups and strides, pooling, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.second, self.third = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 24, 3, stride=2, groups=4)
        self.last = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.first(x)))
        y = functional.max_pool2d(torch.relu(self.second(y) + y), 2)
        made: torch.Tensor = self.last(functional.gelu(self.third(y)).mean((2, 3)))
        return made


class Parts(nn.Module):
    """Convolutions side by side, of which another reads both results."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 16, 1)
        self.last = nn.Conv2d(24, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.last(torch.cat([torch.relu(self.first(x)), self.second(x)], 1)).flatten(1)
        return made


class Gated(nn.Module):
    """Of MobileNetV3: a depthwise convolution whose channels are weighed by their means, and a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.own = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.squeezed, self.gate = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.narrow = nn.Conv2d(16, 8, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.silu(self.own(functional.silu(self.wide(x))))
        gate = torch.sigmoid(self.gate(functional.silu(self.squeezed(y.mean((2, 3), keepdim=True)))))
        made: torch.Tensor = self.narrow(y * gate) + x
        return made


class Added(nn.Module):
    """Of ResNet: normalised convolutions that are added, and maxima of windows before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 16, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1)
        self.first, self.second = nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.Conv2d(16, 32, 1, stride=2, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(32) for _ in range(2))
        for each in self.norms:
            nn.init.normal_(each.weight)
            nn.init.normal_(each.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.pool(functional.relu6(self.stem(x)))
        return torch.relu(self.norms[0](self.first(y)) + self.norms[1](self.second(y))).mean((2, 3))


class Largest(nn.Module):
    """The largest of each row of a product, which becomes a result behind another product."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(24, 31), nn.Linear(24, 31)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.first(x).reshape(7, -1, 31)
        return torch.relu(y).amax(2, keepdim=True).flatten(), self.second(x), y


class Rows(nn.Module):
    """Softmax, layer norm and reductions of rows of any length, along both axes, and a concatenation of parts."""

    def __init__(self, inputs: int, columns: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, columns), nn.LayerNorm(columns)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.linear(x)
        parts = torch.cat([y[:, :2], y[:, 1:]], 1)
        return torch.softmax(y, -1), self.norm(y), torch.softmax(y, 1), y.mean(1), y.amax(-1), parts


class Words(nn.Module):
    """Embeddings, which are checked gathers, and a layer norm."""

    def __init__(self, words: int = 100, hidden: int = 48) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, hidden), nn.Embedding(16, hidden)
        self.norm, self.linear = nn.LayerNorm(hidden), nn.Linear(hidden, hidden)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.linear(self.norm(self.words(numbers) + self.places(torch.arange(numbers.shape[1]))))
        return made


class Decoder(nn.Module):
    """One token of a Llama-shaped block, whose keys and values so far are inputs."""

    def __init__(self, hidden: int = 64, inner: int = 96, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.gate, self.up = nn.Linear(hidden, inner, bias=False), nn.Linear(hidden, inner, bias=False)
        self.down = nn.Linear(inner, hidden, bias=False)
        self.first, self.second = nn.RMSNorm(hidden, eps=1e-5), nn.RMSNorm(hidden, eps=1e-5)

    def forward(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size = x.shape[1] // self.heads
        q, k, v = self.qkv(self.first(x)).view(-1, 3, self.heads, 1, size).unbind(1)
        scores = q @ torch.cat([keys, k], 2).transpose(2, 3) * size**-0.5
        seen = scores.softmax(3) @ torch.cat([values, v], 2)
        x = x + self.out(seen.reshape(-1, x.shape[1]))
        y = self.second(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y)), k


def kept_two_of_four(net: nn.Module) -> None:
    """Take the smaller two of each four weights of linear layers away."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear) and layer.in_features % 4 == 0:
            groups = layer.weight.data.view(layer.out_features, -1, 4)
            groups.scatter_(-1, groups.abs().argsort(-1)[..., :2], 0.0)
