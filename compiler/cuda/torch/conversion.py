"""`convert`: the linear layers of a torch network that zeros make faster are replaced, the others stay; `explain` says why."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch

from sparsec.cuda.device.driver import Device, device
from sparsec.cuda.torch.choice import Choice, choose
from sparsec.cuda.torch.torch_linear import SparseLinear
from sparsec.errors import InputError

TOKENS = (8,)

_CHOICES: weakref.WeakKeyDictionary[torch.nn.Module, list[Choice]] = weakref.WeakKeyDictionary()


def convert(net: torch.nn.Module, *example: object, tokens: int | Sequence[int] = TOKENS) -> torch.nn.Module:
    """Replace `torch.nn.Linear` modules, in place, where a sparse kernel is predicted to be faster; returns `net`, or what
    replaces it if it is such a module itself.

    It is for inference: weights become constants. Layers are judged by the tokens that they get in `net(*example)`, or by
    `tokens` (rows of their input; several counts weigh the same). Raises `InputError` if no layer is on an NVIDIA GPU,
    `TargetError` if the GPU cannot be used; then the network is as it was.
    """
    layers = {name: each for name, each in net.named_modules() if type(each) is torch.nn.Linear}
    if not any(each.weight.is_cuda for each in layers.values()):
        raise InputError(
            "No linear layer of this network is on an NVIDIA GPU.",
            got=f"{len(layers)} linear layers",
            next_step='net.to("cuda", torch.float16)',
        )
    given = [tokens] if isinstance(tokens, int) else list(tokens)
    seen = _tokens_of(net, layers, example) if example else {}
    choices, replaced = [], dict[str, SparseLinear]()
    for name, layer in layers.items():
        counts = seen.get(name, given)
        choice = choose(name, layer.weight.detach(), counts, _device_of(layer.weight))
        choices.append(choice)
        if choice.pattern is not None:
            replaced[name] = SparseLinear(layer.weight.detach(), layer.bias, choice.pattern, counts)
    for name, by in replaced.items():
        net = _replaced(net, name, by)
    _CHOICES[net] = choices
    return net


def explain(net: torch.nn.Module) -> str:
    """What `convert` did with each linear layer of a network, and why; raises `InputError` if it was not converted."""
    if net not in _CHOICES:
        raise InputError("This network was not converted.", next_step="sparsec.cuda.convert(net)")
    lines = [f"{'layer':<40} {'shape':>13} {'zeros':>6} {'dense us':>9} {'sparse us':>9}  choice"]
    for each in _CHOICES[net]:
        what = each.reason if each.pattern else f"dense: {each.reason}"
        lines.append(
            f"{each.name:<40} {f'{each.m} x {each.k}':>13} {each.zeros:>6.1%} {each.dense:>9.1f} {each.sparse:>9.1f}  {what}"
        )
    return "\n".join(lines)


def _device_of(weight: torch.Tensor) -> Device | None:
    return device(weight.device.index or 0) if weight.is_cuda else None


def _tokens_of(
    net: torch.nn.Module, layers: dict[str, torch.nn.Linear], example: tuple[object, ...]
) -> dict[str, list[int]]:
    """Rows of each layer's input, of each time that it runs."""
    found: dict[str, list[int]] = {}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            found.setdefault(name, []).append(inputs[0].numel() // inputs[0].shape[-1])

        return layers[name].register_forward_pre_hook(hook)

    handles = [watch(name) for name in layers]
    try:
        with torch.no_grad():
            net(*example)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _replaced(net: torch.nn.Module, name: str, by: torch.nn.Module) -> torch.nn.Module:
    """The network with another module of that name; without a name it is the network itself."""
    if not name:
        return by
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, by)
    return net
