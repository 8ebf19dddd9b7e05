"""Plans made by hand: a layer of each kind, and what they compute in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact import Complaint, Space, TensorSpec
from sparsec.cuda.network.plan import Address, DevicePlan, DeviceWeight, Launch, Product, Rows, Tail

ADD = """
.version 7.0
.target sm_80
.address_size 64
.visible .entry add_half(.param .u64 a, .param .u64 b, .param .u64 y) {
    .reg .b64 %rd<8>;
    .reg .b32 %r<5>;
    .reg .b16 %h<4>;
    ld.param.u64 %rd1, [a];
    ld.param.u64 %rd2, [b];
    ld.param.u64 %rd3, [y];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.s32 %r4, %r1, %r2, %r3;
    mul.wide.s32 %rd4, %r4, 2;
    add.s64 %rd5, %rd1, %rd4;
    add.s64 %rd6, %rd2, %rd4;
    add.s64 %rd7, %rd3, %rd4;
    ld.global.b16 %h1, [%rd5];
    ld.global.b16 %h2, [%rd6];
    add.f16 %h3, %h1, %h2;
    st.global.b16 [%rd7], %h3;
    ret;
}
.visible .entry complain(.param .u64 x, .param .u64 status) {
    .reg .b64 %rd<4>;
    .reg .b16 %h<2>;
    .reg .pred %p<2>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [status];
    ld.global.b16 %h1, [%rd1];
    setp.eq.b16 %p1, %h1, 0;
    @%p1 bra done;
    mov.u64 %rd3, 1;
    st.global.u64 [%rd2], %rd3;
done:
    ret;
}
"""
STATUS = 8 << 10  # in the arena of `checked`
ARENA = Address(Space.ARENA, 0)
INPUT, OUTPUT = Address(Space.INPUT, 0), Address(Space.OUTPUT, 0)

Halves = NDArray[np.float16]


def sparse_matrix(m: int, k: int, share: float, seed: int) -> Halves:
    """A matrix with that share of nonzeros."""
    random = np.random.default_rng(seed)
    return ((random.standard_normal((m, k)) / np.sqrt(k)) * (random.random((m, k)) < share)).astype(np.float16)


def two_of_four(m: int, k: int, seed: int) -> Halves:
    """A matrix whose every four neighbours have two zeros; k is a multiple of four."""
    values = sparse_matrix(m, k, 1.0, seed).reshape(m, -1, 4)
    values[..., 1::2] = 0
    return values.reshape(m, k)


def residual_block(tokens: int, first: DeviceWeight, second: DeviceWeight, bias: NDArray[np.float32]) -> DevicePlan:
    """y = x + W2 relu(W1 x + bias), for x [tokens, k]; tokens * k is a multiple of 64."""
    (hidden, k), end = first.shape, -(-tokens * first.shape[0] * 2 // 256) * 256
    between, added = Rows(ARENA, hidden), Address(Space.ARENA, end)
    steps = (
        Product(0, tokens, Rows(INPUT, k), between, Tail(Address(Space.WEIGHTS, 0), "relu"), "first"),
        Product(1, tokens, between, Rows(added, k), Tail(), "second"),
        Launch("add_half", (tokens * k // 64, 1, 1), (64, 1, 1), 0, (INPUT, added, OUTPUT), "sum"),
    )
    return _plan("block", (tokens, k), end + tokens * k * 2, steps, (first, second), bias.view(np.uint8))


def residual_blocks(
    tokens: Sequence[int], first: DeviceWeight, second: DeviceWeight, bias: NDArray[np.float32]
) -> tuple[DevicePlan, ...]:
    """The same for several numbers of tokens, over the same weights and constants."""
    plans = [residual_block(each, first, second, bias) for each in tokens]
    shared = plans[0]
    return tuple(replace(plan, weights=shared.weights, constants=shared.constants) for plan in plans)


def residual_block_reference(
    x: Halves, first: Halves, second: Halves, bias: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The same in float64."""
    hidden = np.maximum(x.astype(np.float64) @ first.T.astype(np.float64) + bias, 0)
    return np.asarray(x.astype(np.float64) + hidden @ second.T.astype(np.float64))


def checked() -> DevicePlan:
    """y = x + x for 64 numbers, the first of which has to be zero."""
    steps = (
        Launch("complain", (1, 1, 1), (1, 1, 1), 0, (INPUT, Address(Space.ARENA, STATUS)), "check"),
        Launch("add_half", (1, 1, 1), (64, 1, 1), 0, (INPUT, INPUT, OUTPUT), "sum"),
    )
    plan = _plan("checked", (64,), STATUS + 8, steps, (), np.zeros(0, np.uint8))
    complaint = Complaint("check", "the first number is not zero")
    return replace(plan, status=STATUS, complaints=(complaint,))


def _plan(
    name: str,
    shape: tuple[int, ...],
    arena_bytes: int,
    steps: tuple[Launch | Product, ...],
    weights: tuple[DeviceWeight, ...],
    constants: NDArray[np.uint8],
) -> DevicePlan:
    inputs, outputs = (TensorSpec("x", "float16", shape),), (TensorSpec("y", "float16", shape),)
    return DevicePlan(name, "float16", (8, 0), inputs, outputs, arena_bytes, steps, weights, constants, ADD, {})


def weight(name: str, values: Halves, pattern: str | None) -> DeviceWeight:
    """A weight of a plan."""
    return DeviceWeight.of(name, values.view(np.uint16), "float16", pattern)  # type: ignore[arg-type]
