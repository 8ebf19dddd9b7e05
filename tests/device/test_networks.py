"""Whole networks as plans for GPUs, run without one, against torch in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from sparsec.cuda.network.plan import Attention, BatchedProduct, Convolution, DevicePlan, Heads, Launch, Pool, Product
from sparsec.device.program import compile_device_text
from sparsec.options import Options
from tests.device.emulated import run_plan
from tests.device.networks import (
    Added,
    Decoder,
    Encoder,
    Gated,
    Largest,
    Parts,
    Pictures,
    Rows,
    Words,
    kept_two_of_four,
)

_ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
_STEPS = 8  # roundings that errors are allowed to add up of, relative to the largest result

Case = tuple[nn.Module, tuple[torch.Tensor, ...]]


def _mlp(sizes: Sequence[int], tokens: int) -> Case:
    layers = [each for at in range(len(sizes) - 1) for each in (nn.Linear(sizes[at], sizes[at + 1]), nn.ReLU())]
    return nn.Sequential(*layers[:-1], nn.Tanh()), (torch.randn(tokens, sizes[0]),)


def _encoder(batch: int, tokens: int, *, own: bool) -> Case:
    mask = torch.zeros(batch, 1, 1, tokens)
    mask[-1, ..., tokens // 2 :] = -1e4
    return Encoder(own=own), (torch.randn(batch, tokens, 64), mask)


def _larger() -> nn.Module:
    return nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, padding=1), nn.ConvTranspose2d(8, 4, 2, stride=2)
    )


def _signals() -> nn.Module:
    grouped = nn.Conv1d(16, 16, 5, groups=4, stride=2)
    return nn.Sequential(nn.Conv1d(8, 16, 3, padding=1), nn.ReLU(), grouped, nn.GELU(), nn.Conv1d(16, 4, 1))


CASES: dict[str, Callable[[], Case]] = {
    "mlp": lambda: _mlp([37, 65, 33, 7], 5),
    "one token": lambda: _mlp([16, 1, 3], 1),
    "encoder": lambda: _encoder(2, 16, own=False),
    "encoder of torch's attention": lambda: _encoder(3, 7, own=True),
    "one sequence": lambda: _encoder(1, 5, own=False),
    "one token of one sequence": lambda: _encoder(1, 1, own=False),
    "pictures": lambda: (Pictures(), (torch.randn(2, 3, 16, 16),)),
    "convolutions side by side": lambda: (Parts(), (torch.randn(2, 8, 9, 7),)),
    "weighed channels": lambda: (Gated(), (torch.randn(2, 8, 10, 10),)),
    "convolutions that are added": lambda: (Added(), (torch.randn(2, 3, 33, 32),)),
    "a picture in blocks": lambda: (nn.Conv2d(3, 16, 7, stride=2, padding=3), (torch.randn(2, 3, 32, 34),)),
    "blocks without a frame": lambda: (nn.Conv2d(4, 16, 8, stride=2), (torch.randn(1, 4, 30, 32),)),
    "blocks with an even frame": lambda: (nn.Conv2d(1, 8, (5, 7), stride=2, padding=2), (torch.randn(2, 1, 28, 30),)),
    "larger images": lambda: (_larger(), (torch.randn(2, 8, 5, 6),)),
    "convolutions of one axis": lambda: (_signals(), (torch.randn(2, 8, 31),)),
    "the largest of rows": lambda: (Largest(), (torch.randn(3, 7, 24),)),
    "odd rows": lambda: (Rows(17, 131), (torch.randn(3, 5, 17),)),
    "rows of a block": lambda: (Rows(8, 1025), (torch.randn(2, 3, 8),)),
    "words": lambda: (Words(), (torch.randint(0, 100, (2, 16)),)),
    "decoder": lambda: (Decoder(), (torch.randn(3, 64), torch.randn(3, 4, 9, 16), torch.randn(3, 4, 9, 16))),
}


def _checked(net: nn.Module, inputs: tuple[torch.Tensor, ...], precision: str = "fp16") -> DevicePlan:
    """Compile, run, and compare; returns the plan."""
    net.eval()
    plan, text = compile_device_text(net, Options(target="cuda", precision=precision), example_inputs=inputs)
    found = run_plan(plan, text, dict(zip([spec.name for spec in plan.inputs], map(_array, inputs), strict=True)))
    exact = copy.deepcopy(net).double()(*(each.double() if each.is_floating_point() else each for each in inputs))
    for result, wanted in zip(found.values(), exact if isinstance(exact, tuple) else (exact,), strict=True):
        reference = wanted.detach().numpy()
        assert result.shape == reference.shape
        allowed = _STEPS * _ROUNDING[plan.precision] * max(1.0, float(np.abs(reference).max()))
        np.testing.assert_allclose(_float(result, plan), reference, rtol=0, atol=allowed)
    for step in plan.steps:
        if isinstance(step, Attention):
            assert all(part % 8 == 0 for each in (step.q, step.k, step.v, step.y) for part in _strides(each)), step
    return plan


def _strides(heads: Heads) -> tuple[int, int, int]:
    """In elements; the kernels for attention read eight at a time."""
    return heads.batch, heads.head, heads.token


def _array(tensor: torch.Tensor) -> np.ndarray:
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _float(result: np.ndarray, plan: DevicePlan) -> np.ndarray:
    if result.dtype == np.uint16:  # bits of bfloat16
        return (result.astype(np.uint32) << 16).view(np.float32)
    return result.astype(np.float64)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", CASES)
def test_networks_of_float32(name: str) -> None:
    _checked(*CASES[name]())


def test_bfloat16_between_steps() -> None:
    plan = _checked(*CASES["encoder"](), precision="bf16")
    assert plan.precision == "bfloat16"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_networks_of_halves_come_as_they_are(name: str, dtype: torch.dtype) -> None:
    net, inputs = CASES[name]()
    plan = _checked(net.to(dtype), tuple(each.to(dtype) for each in inputs))
    assert plan.precision == str(dtype).removeprefix("torch.")
    assert {spec.dtype for spec in (*plan.inputs, *plan.outputs)} == {plan.precision}


def test_sequences_that_are_masked_altogether() -> None:
    """torch's attention gives zeros there."""
    net, (x, mask) = _encoder(2, 16, own=True)
    mask[1] = -torch.inf
    _checked(net, (x, mask))


def test_an_encoder_block_is_eight_steps() -> None:
    net, inputs = CASES["encoder"]()
    kinds = [type(step) for step in _checked(net, inputs).steps]
    assert kinds == [Launch, Product, Attention, Product, Launch, Product, Product, Launch]


def test_tails_are_in_products() -> None:
    net, inputs = CASES["encoder"]()
    tails = [step.tail for step in _checked(net, inputs).steps if isinstance(step, Product)]
    assert [(tail.activation, tail.residual is not None) for tail in tails] == [
        (None, False),
        (None, True),
        ("gelu", False),
        (None, True),
    ]


def test_two_of_four_weights_are_chosen_where_they_pay() -> None:
    net = nn.Linear(4096, 4096, bias=False)
    kept_two_of_four(net)
    plan, _ = compile_device_text(net, Options(target="cuda", precision="fp16"), example_inputs=(torch.randn(8, 4096),))
    (weight,) = plan.weights
    assert weight.pattern == "2:4"
    assert weight.bitmap is not None
    np.testing.assert_array_equal(weight.bits().view(np.float16), net.weight.detach().numpy().astype(np.float16))


def test_zeros_that_are_not_to_be_used() -> None:
    net = nn.Linear(4096, 4096, bias=False)
    kept_two_of_four(net)
    options = Options(target="cuda", precision="fp16", dense_only=True)
    plan, _ = compile_device_text(net, options, example_inputs=(torch.randn(8, 4096),))
    assert [weight.pattern for weight in plan.weights] == [None]


def test_convolutions_and_products_of_activations_are_steps() -> None:
    kinds = {type(step) for step in _checked(*CASES["pictures"]()).steps}
    assert {Convolution, Pool} <= kinds
    assert BatchedProduct in {type(step) for step in _checked(*_products()).steps}


def test_normalised_convolutions_that_are_added_are_two_steps() -> None:
    steps = [step for step in _checked(*CASES["convolutions that are added"]()).steps if isinstance(step, Convolution)]
    stem, first, second = steps
    assert (stem.tail.activation, stem.tail.bias is not None) == ("relu6", True)
    assert (stem.channels, first.tail.activation, first.tail.residual) == (8, None, None)
    assert (second.tail.activation, second.tail.residual_first) == ("relu", True)


def test_zeros_of_convolutions_of_single_pixels_are_used() -> None:
    net = nn.Conv2d(2048, 2048, 1)
    with torch.no_grad():
        net.weight[torch.rand_like(net.weight) < 0.9] = 0
    plan = _checked(net, (torch.randn(1, 2048, 1, 1),))
    (product,) = (step for step in plan.steps if isinstance(step, Product))
    assert (product.tokens, plan.weights[product.weight].pattern) == (1, "unstructured")


def _products() -> Case:
    class Products(nn.Module):
        def forward(self, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
            return p @ q.transpose(1, 2)

    return Products(), (torch.randn(3, 5, 9), torch.randn(3, 4, 9))


def test_a_failed_check_leaves_its_number() -> None:
    net, (numbers,) = CASES["words"]()
    plan, text = compile_device_text(net.eval(), Options(target="cuda", precision="fp16"), example_inputs=(numbers,))
    spoilt = numbers.clone()
    spoilt[0, 0] = 100
    failed: list[int] = []
    run_plan(plan, text, {plan.inputs[0].name: spoilt.numpy()}, failed=failed)
    assert "must be smaller than dim size" in plan.complaints[failed[0] - 1].what
