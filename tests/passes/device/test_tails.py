"""Tails of layers, told from what their bodies do."""

from __future__ import annotations

import pytest
from torch_mlir import ir

from sparsec.ir.context import make_context
from sparsec.passes.device.tails import Tail, tail_of
from sparsec.passes.layer import layers

_HALF_ROOT = "0.70710678118654757"
_GELU = f"""
  %r = arith.constant {_HALF_ROOT} : f32
  %h = arith.constant 0.5 : f32
  %one = arith.constant 1.0 : f32
  %u = arith.mulf %b, %r : f32
  %e = math.erf %u : f32
  %p = arith.addf %e, %one : f32
"""
_CASES: dict[str, tuple[str, Tail | None]] = {
    "sums": ("linalg.yield %s : f32", Tail()),
    "bias": ("%b = arith.addf %c, %s : f32 linalg.yield %b : f32", Tail(bias=2)),
    "residual": (
        "%b = arith.addf %s, %c : f32 %y = arith.addf %f, %b : f32 linalg.yield %y : f32",
        Tail(bias=2, residual=3),
    ),
    "relu": (
        "%z = arith.constant 0.0 : f32 %b = arith.addf %s, %c : f32 %y = arith.maximumf %b, %z : f32 linalg.yield %y : f32",
        Tail(bias=2, activation="relu"),
    ),
    "relu by choice": (
        "%z = arith.constant 0.0 : f32 %g = arith.cmpf ugt, %s, %z : f32"
        " %y = arith.select %g, %s, %z : f32 linalg.yield %y : f32",
        Tail(activation="relu"),
    ),
    "relu6": (
        "%z = arith.constant 0.0 : f32 %six = arith.constant 6.0 : f32 %b = arith.addf %s, %c : f32"
        " %p = arith.maximumf %b, %z : f32 %y = arith.minimumf %six, %p : f32 linalg.yield %y : f32",
        Tail(bias=2, activation="relu6"),
    ),
    "relu6 by choice": (
        "%z = arith.constant 0.0 : f32 %six = arith.constant 6.0 : f32 %g = arith.cmpf olt, %z, %s : f32"
        " %p = arith.select %g, %s, %z : f32 %l = arith.cmpf olt, %six, %p : f32"
        " %y = arith.select %l, %six, %p : f32 linalg.yield %y : f32",
        Tail(activation="relu6"),
    ),
    "the smaller of both where relu has the larger": (
        "%z = arith.constant 0.0 : f32 %g = arith.cmpf ogt, %s, %z : f32 %y = arith.select %g, %z, %s : f32"
        " linalg.yield %y : f32",
        None,
    ),
    "zero added": (
        "%z = arith.constant 0.0 : f32 %b = arith.addf %s, %z : f32 %y = arith.addf %b, %c : f32 linalg.yield %y : f32",
        Tail(bias=2),
    ),
    "one added": ("%one = arith.constant 1.0 : f32 %y = arith.addf %s, %one : f32 linalg.yield %y : f32", None),
    "residual first": (
        "%z = arith.constant 0.0 : f32 %b = arith.addf %s, %f : f32 %y = arith.maximumf %b, %z : f32 linalg.yield %y : f32",
        Tail(activation="relu", residual=3, residual_first=True),
    ),
    "gelu": (
        f"%b = arith.addf %s, %c : f32 {_GELU} %m = arith.mulf %p, %h : f32 %y = arith.mulf %b, %m : f32"
        " linalg.yield %y : f32",
        Tail(bias=2, activation="gelu"),
    ),
    "gelu in another order, and a residual": (
        f"%b = arith.addf %s, %c : f32 {_GELU} %m = arith.mulf %b, %p : f32 %y = arith.mulf %m, %h : f32"
        " %z = arith.addf %y, %f : f32 linalg.yield %z : f32",
        Tail(bias=2, activation="gelu", residual=3),
    ),
    "silu": (
        "%one = arith.constant 1.0 : f32 %n = arith.negf %s : f32 %e = math.exp %n : f32 %p = arith.addf %e, %one : f32"
        " %q = arith.divf %one, %p : f32 %y = arith.mulf %q, %s : f32 linalg.yield %y : f32",
        Tail(activation="silu"),
    ),
    "another number in gelu": (
        f"%b = arith.addf %s, %c : f32 {_GELU.replace(_HALF_ROOT, '0.7')} %m = arith.mulf %p, %h : f32"
        " %y = arith.mulf %b, %m : f32 linalg.yield %y : f32",
        None,
    ),
    "two residuals": (
        "%b = arith.addf %s, %f : f32 %y = arith.addf %b, %f : f32 linalg.yield %y : f32",
        None,
    ),
    "tanh": ("%y = math.tanh %s : f32 linalg.yield %y : f32", None),
    "a scaled sum": (
        "%two = arith.constant 2.0 : f32 %y = arith.mulf %s, %two : f32 linalg.yield %y : f32",
        None,
    ),
    "the sum twice": ("%y = arith.addf %s, %s : f32 linalg.yield %y : f32", None),
    "a gate": ("%y = arith.mulf %s, %f : f32 linalg.yield %y : f32", None),
}
_MAPS = "(m, n, a, b, c, d) -> (a, b)", "(m, n, a, b, c, d) -> (c, d)"
_MORE = "(m, n, a, b, c, d) -> (n)", "(m, n, a, b, c, d) -> (m, n)", "(m, n, a, b, c, d) -> (m, n)"


@pytest.mark.parametrize("name", _CASES)
def test_tails(name: str) -> None:
    body, expected = _CASES[name]
    maps = ", ".join(f"affine_map<{each}>" for each in (*_MAPS, *_MORE))
    kinds = ", ".join(['"parallel"'] * 2 + ['"reduction"'] * 4)
    module = ir.Module.parse(
        f"""
        func.func @main(%x: tensor<4x8xf32>, %w: tensor<2x8xf32>, %bias: tensor<2xf32>, %full: tensor<4x2xf32>) -> tensor<4x2xf32> {{
          %start = tensor.empty() : tensor<4x2xf32>
          %0 = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}], library_call = "sparsec"}}
            ins(%x, %w, %bias, %full : tensor<4x8xf32>, tensor<2x8xf32>, tensor<2xf32>, tensor<4x2xf32>) outs(%start : tensor<4x2xf32>) {{
          ^bb0(%xe: f32, %we: f32, %c: f32, %f: f32, %out: f32):
            %s = "sparsec.linear"(%xe, %we) : (f32, f32) -> f32
            {body}
          }} -> tensor<4x2xf32>
          return %0 : tensor<4x2xf32>
        }}""",
        make_context(),
    )
    (layer,) = layers(module)
    with module.context, ir.Location.unknown():
        assert tail_of(layer) == expected
