"""`torch.compile(net, backend="sparsec")`: products with weights whose zeros pay run on sparse kernels, the rest is inductor's.

The weights are those at the time of compilation: for inference, under `torch.no_grad()` or with frozen parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch._dynamo.backends.registry import CompiledFn, lookup_backend, register_backend

from sparsec.cuda.device.driver import device
from sparsec.cuda.torch.choice import choose
from sparsec.cuda.torch.torch_linear import Layer


def sparsec(graph: torch.fx.GraphModule, example: list[torch.Tensor], *, rest: str = "inductor") -> CompiledFn:
    """Compile a graph of torch's; `rest` is the backend for what remains."""
    kept: list[Layer] = []
    if not torch.is_grad_enabled() or not any(
        isinstance(each, torch.Tensor) and each.requires_grad for each in example
    ):
        inputs = dict(zip((node for node in graph.graph.nodes if node.op == "placeholder"), example, strict=True))
        for node in list(graph.graph.nodes):
            if node.op == "call_function" and node.target in (torch.nn.functional.linear, torch._C._nn.linear):
                _replace(graph, node, inputs, kept)
        graph.recompile()
    inner = lookup_backend(rest)(graph, example)

    def run(*arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return inner(*arguments)

    run.__dict__["layers"] = kept  # which are found by number, as long as they are kept
    return run


def _replace(
    graph: torch.fx.GraphModule,
    node: torch.fx.Node,
    inputs: Mapping[torch.fx.Node, torch.Tensor],
    kept: list[Layer],
) -> None:
    x, weight, bias = _argument(node, 0, "input"), _argument(node, 1, "weight"), _argument(node, 2, "bias")
    matrix, added = _value(graph, weight, inputs), _value(graph, bias, inputs)
    if matrix is None or not matrix.is_cuda or x is None or "example_value" not in x.meta or (bias and added is None):
        return
    example: torch.Tensor = x.meta["example_value"]
    if example.dtype != matrix.dtype:  # autocast has a say
        return
    tokens = int(example.shape[:-1].numel())
    choice = choose(node.name, matrix, [tokens], device(matrix.device.index or 0))
    if choice.pattern is None:
        return
    layer = Layer(matrix, added, choice.pattern, [tokens])
    kept.append(layer)
    with graph.graph.inserting_before(node):
        made = graph.graph.call_function(torch.ops.sparsec.linear.default, (x, layer.number, choice.m))
    made.meta.update(node.meta)
    node.replace_all_uses_with(made)
    graph.graph.erase_node(node)


def _argument(node: torch.fx.Node, position: int, name: str) -> torch.fx.Node | None:
    found = node.args[position] if position < len(node.args) else node.kwargs.get(name)
    return found if isinstance(found, torch.fx.Node) else None


def _value(
    graph: torch.fx.GraphModule, node: torch.fx.Node | None, inputs: Mapping[torch.fx.Node, torch.Tensor]
) -> torch.Tensor | None:
    """The parameter behind a node of the graph."""
    if node is None:
        return None
    found: object = inputs.get(node)
    if node.op == "get_attr":
        found = graph
        for name in str(node.target).split("."):
            found = getattr(found, name)
    return found.detach() if isinstance(found, torch.nn.Parameter) else None


register_backend(sparsec)
