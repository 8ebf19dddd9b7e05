"""Networks of torch: layers whose zeros pay are replaced, the others stay, and results stay what they were."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from test_device_cost import H100  # noqa: E402

import sparsec.cuda  # noqa: E402
from sparsec.cuda.torch import conversion, torch_linear  # noqa: E402
from sparsec.cuda.torch.choice import choose  # noqa: E402
from sparsec.cuda.torch.conversion import convert, explain  # noqa: E402
from sparsec.cuda.torch.torch_linear import SparseLinear  # noqa: E402
from sparsec.errors import InputError, TargetError, UsageError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def pruned(m: int, k: int, density: float, dtype: object = torch.float16) -> torch.Tensor:
    kept = torch.rand(m, k, generator=torch.Generator().manual_seed(m)) < density
    return (torch.randn(m, k, generator=torch.Generator().manual_seed(k)) * kept / k**0.5).to(dtype)


@pytest.mark.parametrize(
    ("density", "tokens", "pattern"),
    [
        (1.0, [8], None),
        (0.5, [8], "unstructured"),
        (0.5, [512], None),
        (0.1, [1, 8], "unstructured"),
        (0.05, [8], "unstructured"),
    ],
)
def test_a_layer_is_sparse_where_that_is_faster(density: float, tokens: list[int], pattern: str | None) -> None:
    choice = choose("layer", pruned(8192, 4096, density), tokens, H100())
    assert choice.pattern == pattern
    assert (choice.sparse < 0.9 * choice.dense) == (pattern is not None)
    assert choice.zeros == pytest.approx(1 - density, abs=0.01)


def test_two_of_four_is_seen() -> None:
    weight = pruned(8192, 4096, 1.0)
    weight.view(-1, 4)[:, [0, 3]] = 0
    assert choose("layer", weight, [8], H100()).pattern == "2:4"


def test_two_of_four_pays_for_many_tokens_too() -> None:
    weight = pruned(4096, 4096, 1.0)
    weight.view(-1, 4)[:, [0, 3]] = 0
    choice = choose("layer", weight, [4096], H100())
    assert (choice.pattern, choice.reason) == ("2:4", "nm24_wgmma")
    assert choose("layer", weight, [4096], H100(architecture=(8, 0))).pattern is None


def test_what_stays_dense_has_a_reason() -> None:
    assert "not on an NVIDIA GPU" in choose("layer", pruned(64, 64, 0.1), [8], None).reason
    assert "float32" in choose("layer", pruned(64, 64, 0.1, torch.float32), [8], H100()).reason
    assert "would not be a tenth faster" in choose("layer", pruned(64, 64, 0.5), [8], H100()).reason
    assert "no weights" in choose("layer", torch.zeros(64, 0, dtype=torch.float16), [8], H100()).reason


def test_a_network_that_is_not_on_a_gpu_is_refused() -> None:
    with pytest.raises(InputError, match="No linear layer of this network is on an NVIDIA GPU"):
        sparsec.cuda.convert(torch.nn.Sequential(torch.nn.Linear(8, 8)))
    with pytest.raises(InputError, match="was not converted"):
        sparsec.cuda.explain(torch.nn.Linear(8, 8))


def test_the_operator_has_a_shape_without_a_gpu() -> None:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        x = torch.empty(2, 3, 64, dtype=torch.float16)
        assert torch.ops.sparsec.linear(x, 1, 128).shape == (2, 3, 128)


def without_gpu(monkeypatch: pytest.MonkeyPatch, compress: object = lambda *_, tokens, gpu: SimpleNamespace()) -> None:
    """Layers are compressed to nothing, and all weights are taken for an H100's."""
    monkeypatch.setattr(torch_linear, "compress", compress)
    monkeypatch.setattr(torch_linear, "prepare", lambda *_: None)
    monkeypatch.setattr(conversion, "_device_of", lambda _: H100())
    monkeypatch.setattr(torch.nn.Parameter, "is_cuda", True, raising=False)


def sparse_layer() -> torch.nn.Linear:
    layer = torch.nn.Linear(4096, 8192, bias=False, dtype=torch.float16)
    layer.weight.data = pruned(8192, 4096, 0.1)
    return layer


def test_a_network_that_is_a_linear_layer_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    without_gpu(monkeypatch)
    found = convert(sparse_layer())
    assert isinstance(found, SparseLinear)
    assert found.pattern == "unstructured"
    assert "8192 x 4096" in explain(found)


def test_a_conversion_that_fails_leaves_the_network_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def compress(*_: object, tokens: object, gpu: int) -> object:
        made.append(gpu)
        if len(made) > 1:
            raise TargetError("There is no room.")
        return SimpleNamespace()

    without_gpu(monkeypatch, compress)
    net = torch.nn.Sequential(sparse_layer(), sparse_layer())
    with pytest.raises(TargetError, match="no room"):
        convert(net)
    assert [type(each) for each in net] == [torch.nn.Linear, torch.nn.Linear]


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """A network with a sparse layer, made without a GPU."""
    without_gpu(monkeypatch)
    return torch.nn.Sequential(SparseLinear(pruned(64, 32, 0.1), torch.ones(64), "unstructured", [8]))


def test_a_converted_network_is_not_saved_without_its_weights(converted: torch.nn.Module) -> None:
    with pytest.raises(UsageError, match="has no weights that torch could save") as caught:
        converted.state_dict()
    assert caught.value.where == "0"


def test_a_copy_of_a_converted_network_has_the_same_layers(converted: torch.nn.Module) -> None:
    assert copy.deepcopy(converted)[0].layer is converted[0].layer


def test_a_sparse_layer_has_the_shape_and_type_of_its_weight(converted: torch.nn.Module) -> None:
    assert converted[0].weight.shape == (64, 32)
    assert converted[0].weight.dtype == torch.float16
    assert converted[0].weight.is_meta
    assert not list(converted.parameters())


class Net(torch.nn.Module):
    """Two layers that are worth it, one that is too small."""

    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.Linear(2048, 8192)
        self.down = torch.nn.Linear(8192, 2048, bias=False)
        self.head = torch.nn.Linear(2048, 10)
        for each in (self.up, self.down, self.head):
            each.weight.data = pruned(*each.weight.shape, 0.1)
        self.requires_grad_(False).to("cuda", torch.float16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.head(self.down(torch.nn.functional.silu(self.up(x))))
        return made


@pytest.mark.usefixtures("gpu", "nvrtc")
def test_conversion_keeps_results_and_can_be_captured() -> None:
    net = Net()
    x = torch.randn(2, 3, 2048, device="cuda", dtype=torch.float16)
    expected = net(x)
    assert convert(net, x) is net
    assert isinstance(net.up, SparseLinear)
    assert isinstance(net.down, SparseLinear)
    assert type(net.head) is torch.nn.Linear
    assert "dense: " in explain(net).splitlines()[-1]
    assert torch.allclose(net(x), expected, rtol=1e-2, atol=1e-2 * float(expected.abs().max()))
    net.to(torch.bfloat16).to(torch.float16).cuda()  # leaves sparse layers as they are
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = net(x)
    x.copy_(torch.randn_like(x))
    graph.replay()
    captured = out.clone()
    assert torch.equal(captured, net(x))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        other = net(x)
    side.synchronize()
    assert torch.equal(captured, other)


@pytest.mark.usefixtures("gpu", "nvrtc")
@pytest.mark.parametrize("rest", ["eager", "inductor"])
def test_torch_compile_uses_sparse_kernels(rest: str) -> None:
    from sparsec.cuda.torch import torch_backend

    net = Net()
    x = torch.randn(6, 2048, device="cuda", dtype=torch.float16)
    seen: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, example: list[torch.Tensor]) -> object:
        compiled = torch_backend.sparsec(graph, example, rest=rest)
        seen.append(graph)
        return compiled

    with torch.no_grad():
        expected = net(x)
        found = torch.compile(net, backend=backend)(x)
    assert [node.target for node in seen[0].graph.nodes].count(torch.ops.sparsec.linear.default) == 2
    assert torch.allclose(found, expected, rtol=1e-2, atol=1e-2 * float(expected.abs().max()))


def test_the_backend_has_a_name_and_leaves_other_networks_alone() -> None:
    from sparsec.cuda.torch import torch_backend

    assert "sparsec" in torch._dynamo.list_backends()
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
    x = torch.randn(3, 8)

    def backend(graph: torch.fx.GraphModule, example: list[torch.Tensor]) -> object:
        return torch_backend.sparsec(graph, example, rest="eager")

    with torch.no_grad():
        assert torch.allclose(torch.compile(net, backend=backend)(x), net(x))
