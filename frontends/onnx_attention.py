"""Attention of ONNX, in the form that its definition by other operators knows."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from sparsec.frontends.onnx_builder import Builder

MASK, PAST_KEY = 3, 4


def attention(b: Builder) -> list[NodeProto] | None:
    """Keys and values that were kept come with a mask; where there is none, one of zeros: without it upstream refuses them."""
    past, query, key = (b.shape(b.input(index)) for index in (PAST_KEY, 0, 1))
    if not b.input(PAST_KEY) or b.input(MASK) or past is None or query is None or key is None:
        return None
    seen = (query[-2], past[-2] + key[-2])  # the axis of tokens, in stacks of heads and beside them
    zeros = np.zeros(seen, helper.tensor_dtype_to_np_dtype(b.element(b.input(0))))
    b.node.input[MASK] = b.constant("mask", zeros)
    return [b.node]
