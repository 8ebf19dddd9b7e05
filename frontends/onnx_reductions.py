"""Reductions of ONNX: axes, empty and trivial ones, types that upstream does not reduce."""

from __future__ import annotations

import math

from onnx import NodeProto, TensorProto, helper

from sparsec.frontends.onnx_builder import Builder


def reduce_bool(b: Builder) -> list[NodeProto] | None:
    """The greatest or least of booleans, through uint8, whose neutral elements are false and true."""
    if b.element(b.input(0)) != TensorProto.BOOL:
        return None
    wide = helper.make_node(
        "Cast", [b.input(0)], [f"{b.node.name}/wide"], name=f"{b.node.name}/wide", to=TensorProto.UINT8
    )
    narrow = helper.make_node(
        "Cast", [f"{b.node.name}/result"], list(b.node.output), name=f"{b.node.name}/narrow", to=TensorProto.BOOL
    )
    b.node.input[0] = f"{b.node.name}/wide"
    b.node.output[0] = f"{b.node.name}/result"
    return [wide, b.node, narrow]


def reduction(b: Builder) -> list[NodeProto] | None:
    """The first of the rules below that changes something; each is described where it stands."""
    axes = _told_axes(b)
    if axes:
        b.node.input[1] = b.whole(*axes)
    for rule in (_trivial, _mean_of_integers, _log_sum_exp):
        nodes = rule(b)
        if nodes is not None:
            return nodes
    boolean = reduce_bool(b) if b.node.op_type in ("ReduceMax", "ReduceMin") else None
    return boolean or ([b.node] if axes else None)


def _told_axes(b: Builder) -> list[int]:
    """Axes that are computed, but that the shapes tell: those where the result has one element."""
    source, target = b.shape(b.input(0)), b.shape(b.node.output[0])
    if not b.input(1) or b.input(1) in b.graph.constants or not b.integer("keepdims", 1):
        return []
    if source is None or target is None or len(source) != len(target):
        return []
    return [i for i, (s, t) in enumerate(zip(source, target, strict=True)) if s != t or s == 1]


def _reduced(b: Builder) -> list[int] | None:
    """The axes that are reduced, from 0; None when they are computed."""
    shape, axes = b.shape(b.input(0)), b.array(b.input(1))
    if shape is None or (b.input(1) and axes is None):
        return None
    given = [int(axis) for axis in axes] if axes is not None else b.ints("axes", [])
    if not given and not b.integer("noop_with_empty_axes", 0):
        return list(range(len(shape)))
    return sorted(axis % len(shape) for axis in given) if shape else []


def _trivial(b: Builder) -> list[NodeProto] | None:
    """Over single elements: what is done to each element, and a reshape. Upstream ends the process on some."""
    axes, shape, target = _reduced(b), b.shape(b.input(0)), b.shape(b.node.output[0])
    if axes is None or shape is None or target is None or 0 in shape or math.prod(shape[axis] for axis in axes) != 1:
        return None
    x = b.input(0)
    match b.node.op_type:
        case "ReduceL1" | "ReduceL2":
            x = b.emit("Abs", x)
        case "ReduceLogSum":
            x = b.emit("Log", x)
        case "ReduceSumSquare":
            x = b.emit("Mul", x, x)
    b.reshape(x, target, to=b.node.output[0])
    return b.nodes


def _mean_of_integers(b: Builder) -> list[NodeProto] | None:
    """A sum and a division."""
    axes, shape, element = _reduced(b), b.shape(b.input(0)), b.element(b.input(0))
    if b.node.op_type != "ReduceMean" or axes is None or shape is None:
        return None
    count = math.prod(shape[axis] for axis in axes)
    if element not in (TensorProto.INT32, TensorProto.INT64) or not count:
        return None
    target = b.shape(b.node.output[0])
    if target is None:
        return None
    mean = b.emit("Div", b.reduce("ReduceSum", b.input(0), axes), b.number(count, element))
    b.reshape(mean, target, to=b.node.output[0])
    return b.nodes


def _log_sum_exp(b: Builder) -> list[NodeProto] | None:
    """With the greatest element taken out first, so that nothing overflows."""
    axes, shape, target = _reduced(b), b.shape(b.input(0)), b.shape(b.node.output[0])
    element = b.element(b.input(0))
    if b.node.op_type != "ReduceLogSumExp" or axes is None or shape is None or target is None or 0 in shape:
        return None
    if element not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return None
    greatest = b.reduce("ReduceMax", b.input(0), axes)
    finite = b.emit("Less", b.emit("Abs", greatest), b.number(math.inf, element))
    taken = b.emit("Where", finite, greatest, b.number(0, element))
    total = b.reduce("ReduceSum", b.emit("Exp", b.emit("Sub", b.input(0), taken)), axes)
    b.reshape(b.emit("Add", b.emit("Log", total), taken), target, to=b.node.output[0])
    return b.nodes
