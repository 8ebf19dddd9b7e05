"""Decompositions and folding on an exported program: what torch-mlir would lower slowly becomes plain float32
arithmetic.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Collection, Sequence

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument
from torch.fx import Graph, Node
from torch.utils import _pytree as pytree
from torch_mlir.extras.fx_decomp_util import get_decomposition_table

from sparsec.errors import ModelError, UnsupportedOpError
from sparsec.frontends.torch_bags import BAGS
from sparsec.frontends.torch_order import ORDER
from sparsec.frontends.torch_quantised import DEQUANTISE, QUANTISED
from sparsec.frontends.torch_scatter import SCATTERED

FOLD_ELEMENTS = 1 << 20
"""Arithmetic on weights alone is done at import when no operand or result has more elements than this."""

aten = torch.ops.aten
Triple = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def decompose(program: ExportedProgram, opaque: Collection[str]) -> ExportedProgram:
    """Core aten operators only, with the constant parts computed, except from the weights named in `opaque`.

    Raises `UnsupportedOpError` for operators whose results are random, `ModelError` when torch cannot decompose others.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = program.run_decompositions({**get_decomposition_table(), **DECOMPOSITIONS})
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelError(f"torch cannot take the exported program apart: {error}") from error
        # The constants are shared with the program that the user passed.
        program._constants = dict(program.constants)
        fold_constants(program, opaque)
    _refuse_random(program.graph)
    return program


def _refuse_random(graph: Graph) -> None:
    for node in graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags:
            raise UnsupportedOpError(
                "Its result is random, so it cannot be verified", where=f"node {node.name!r}", got=str(node.target)
            )


def _normalise(x: torch.Tensor, axes: list[int], epsilon: float) -> Triple:
    """Two passes in the type of `x`; upstream takes the variance in float64."""
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    inverse = torch.rsqrt((centred * centred).mean(axes, keepdim=True) + epsilon)
    return centred * inverse, mean, inverse


def native_layer_norm(
    x: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> Triple:
    """`aten.native_layer_norm`."""
    axes = list(range(x.dim() - len(normalized_shape), x.dim()))
    y, mean, inverse = _normalise(x, axes, eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias, mean, inverse


def native_group_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    n: int,
    c: int,
    hxw: int,
    group: int,
    eps: float,
) -> Triple:
    """`aten.native_group_norm`."""
    y, mean, inverse = _normalise(x.reshape(n, group, c // group * hxw), [2], eps)
    y = y.reshape(x.shape)
    per_channel = [1, c] + [1] * (x.dim() - 2)
    y = y if weight is None else y * weight.reshape(per_channel)
    y = y if bias is None else y + bias.reshape(per_channel)
    return y, mean.reshape(n, group), inverse.reshape(n, group)


def batch_norm_no_training(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    momentum: float,
    eps: float,
) -> Triple:
    """`aten._native_batch_norm_legit_no_training` as one multiplication and one addition of constants."""
    scale = torch.rsqrt(running_var + eps)
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale
    shift = shift if bias is None else shift + bias
    per_channel = [1, -1] + [1] * (x.dim() - 2)
    empty = x.new_empty((0,))
    return x * scale.reshape(per_channel) + shift.reshape(per_channel), empty, empty


def reciprocal(x: torch.Tensor) -> torch.Tensor:
    """`aten.reciprocal` as a division: its upstream lowering ends the process when an element is zero."""
    return torch.div(torch.ones((), dtype=x.dtype if x.is_floating_point() else torch.float32), x)


def gelu(x: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    """The approximation of `aten.gelu` with `tanh`, where upstream has 0.797724 for the root of 2 / pi."""
    if approximate != "tanh":
        return NotImplemented  # type: ignore[no-any-return]  # the operator stays
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))))


def of_bytes(operator: torch._ops.OpOverload) -> Callable[..., object]:
    """The operator on bytes, computed as int32: upstream takes unsigned ones for signed, or ends the process."""

    def decomposed(*args: object, **kwargs: object) -> object:
        types = [each.dtype for each in args if isinstance(each, torch.Tensor)]
        if not types or not all(each in (torch.uint8, torch.int8) for each in types):
            return NotImplemented  # the operator stays
        wide = [each.to(torch.int32) if isinstance(each, torch.Tensor) else each for each in args]
        narrow: object = pytree.tree_map(
            lambda each: each.to(types[0]) if each.dtype == torch.int32 else each, operator(*wide, **kwargs)
        )
        return narrow

    return decomposed


OF_BYTES = (
    aten.abs.default,
    aten.amax.default,
    aten.amin.default,
    aten.addmm.default,
    aten.bmm.default,
    aten.div.Scalar_mode,
    aten.div.Tensor_mode,
    aten.max.default,
    aten.max.dim,
    aten.min.default,
    aten.min.dim,
    aten.mm.default,
    aten.remainder.Scalar,
    aten.remainder.Tensor,
)


def clamp(x: torch.Tensor, low: float | None = None, high: float | None = None) -> object:
    """`aten.clamp`; what is no number stays so, which upstream makes the lower bound."""
    if not x.dtype.is_floating_point:
        return of_bytes(aten.clamp.default)(x, low, high)
    y = x if low is None else torch.where(x < low, torch.full((), low, dtype=x.dtype), x)
    return y if high is None else torch.where(y > high, torch.full((), high, dtype=x.dtype), y)


def maximum(x: torch.Tensor, y: torch.Tensor) -> object:
    """`aten.maximum`; what is no number wins, of which upstream knows in the second operand only."""
    if not (x.dtype.is_floating_point and x.dtype == y.dtype):
        return NotImplemented
    return torch.where((x > y) | (x != x), x, y)


def minimum(x: torch.Tensor, y: torch.Tensor) -> object:
    """`aten.minimum`, likewise."""
    if not (x.dtype.is_floating_point and x.dtype == y.dtype):
        return NotImplemented
    return torch.where((x < y) | (x != x), x, y)


def compared(operator: torch._ops.OpOverload) -> Callable[..., object]:
    """A comparison with a number, in the type that torch promotes to: upstream folds those of constants in that of the tensor."""

    def decomposed(x: torch.Tensor, number: float) -> object:
        if x.dtype.is_floating_point and not isinstance(number, float):
            return operator(x, float(number))
        if not x.dtype.is_floating_point and not x.dtype.is_complex and isinstance(number, float):
            return operator(x.to(torch.get_default_dtype()), number)
        return NotImplemented  # the operator stays

    return decomposed


COMPARISONS = (
    aten.eq.Scalar,
    aten.ge.Scalar,
    aten.gt.Scalar,
    aten.le.Scalar,
    aten.lt.Scalar,
    aten.ne.Scalar,
)


def roll(x: torch.Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> torch.Tensor:
    """`aten.roll` as two slices of each axis; upstream loses the sizes of some."""
    if not dims:
        return roll(x.reshape(-1), shifts, [0]).reshape(x.shape)
    for shift, axis in zip(shifts, dims, strict=True):
        size = x.shape[axis]
        first = -shift % size if size else 0
        if first:
            x = torch.cat([x.narrow(axis, first, size - first), x.narrow(axis, 0, first)], axis)
    return x.clone()


def view(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """`aten.view` of a copy where elements are not in order: other decompositions change the strides that the view was meant for."""
    if x.is_contiguous():
        return NotImplemented  # type: ignore[no-any-return]  # the operator stays
    copied: torch.Tensor = aten.view.default(x.contiguous(), shape)
    return copied


def constant_pad_nd(x: torch.Tensor, pad: Sequence[int], value: float = 0) -> torch.Tensor:
    """`aten.constant_pad_nd`; what negative amounts take away is cut first."""
    if min(pad, default=0) >= 0:
        return NotImplemented  # type: ignore[no-any-return]  # the operator stays
    for number, (before, behind) in enumerate(zip(pad[::2], pad[1::2], strict=True), start=1):
        begin, end = max(-before, 0), max(-behind, 0)
        if begin or end:
            x = x.narrow(-number, begin, x.shape[-number] - begin - end)
    grown = [max(amount, 0) for amount in pad]
    return aten.constant_pad_nd(x, grown, value) if any(grown) else x.clone()


DECOMPOSITIONS: dict[torch._ops.OpOverload, Callable[..., object]] = {
    aten.clamp.default: clamp,
    aten.constant_pad_nd.default: constant_pad_nd,
    aten.gelu.default: gelu,
    aten.maximum.default: maximum,
    aten.minimum.default: minimum,
    aten.native_layer_norm.default: native_layer_norm,
    aten.native_group_norm.default: native_group_norm,
    aten._native_batch_norm_legit_no_training.default: batch_norm_no_training,
    aten.reciprocal.default: reciprocal,
    aten.roll.default: roll,
    aten.view.default: view,
    **{operator: compared(operator) for operator in COMPARISONS},
    **{operator: of_bytes(operator) for operator in OF_BYTES},
    **BAGS,
    **ORDER,
    **QUANTISED,
    **SCATTERED,
}


MOVES = frozenset(
    [
        aten.permute.default,
        aten.transpose.int,
        aten.t.default,
        aten.view.default,
        aten.reshape.default,
        aten.expand.default,
        aten.unsqueeze.default,
        aten.squeeze.dims,
        aten.squeeze.dim,
        aten.slice.Tensor,
        aten.select.int,
        aten.alias.default,
        aten.clone.default,
    ]
)
"""Operators that only move elements: passes look through them, and a weight keeps its name and its pattern of zeros."""


def fold_constants(program: ExportedProgram, opaque: Collection[str] = ()) -> None:
    """Compute nodes that depend on parameters, buffers and constants only, and make the results constants, in place."""
    signature = program.graph_signature
    state: dict[str, torch.Tensor] = {}
    for spec in signature.input_specs:
        if isinstance(spec.arg, TensorArgument) and spec.kind != InputKind.USER_INPUT:
            if str(spec.target) in opaque:
                continue
            tensor = program.state_dict.get(str(spec.target), program.constants.get(str(spec.target)))
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu":
                state[spec.arg.name] = tensor.detach()
    mutated = set(signature.buffers_to_mutate.values())
    buffers = signature.inputs_to_buffers
    values: dict[Node, object] = {}
    moved: set[Node] = set()
    for node in list(program.graph.nodes):
        if node.op == "placeholder" and node.name in state:
            if state[node.name].numel() <= FOLD_ELEMENTS and buffers.get(node.name) not in mutated:
                values[node] = state[node.name]
                moved.add(node)
        elif node.op == "call_function" and _is_foldable(node, values):
            args, kwargs = pytree.tree_map_only(Node, values.__getitem__, (node.args, dict(node.kwargs)))
            result = node.target(*args, **kwargs)
            if not isinstance(result, torch.Tensor) or result.numel() <= FOLD_ELEMENTS:
                values[node] = result
                if node.target in MOVES and moved.issuperset(node.all_input_nodes):
                    moved.add(node)
    _replace(program, {node: value for node, value in values.items() if node not in moved})


def _is_foldable(node: Node, values: dict[Node, object]) -> bool:
    if not node.all_input_nodes or not all(source in values for source in node.all_input_nodes):
        return False
    if node.target is operator.getitem:
        return True
    if node.target in DEQUANTISE:
        return False
    return isinstance(node.target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded not in node.target.tags


def _replace(program: ExportedProgram, values: dict[Node, object]) -> None:
    """Give each folded value that something else reads a placeholder for a constant tensor."""
    graph = program.graph
    first = next(iter(graph.nodes))
    for number, (node, value) in enumerate(values.items()):
        if not isinstance(value, torch.Tensor) or all(user in values for user in node.users):
            continue
        target = f"{_layer(node)}.folded{number}"
        with graph.inserting_before(first):
            placeholder = graph.placeholder(f"c_folded_{number}")
        placeholder.meta = dict(node.meta)
        node.replace_all_uses_with(placeholder, delete_user_cb=lambda user: user not in values)
        program.constants[target] = value.contiguous().clone()
        spec = InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(placeholder.name), target, None)
        program.graph_signature.input_specs.insert(0, spec)
    graph.eliminate_dead_code()


def _layer(node: Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    return next((entry[0] for entry in reversed(list(stack.values())) if entry[0]), node.name)
