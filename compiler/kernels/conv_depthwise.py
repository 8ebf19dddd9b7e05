"""Depthwise convolution: every channel has filters of its own, with dense taps.

A channel is copied to a small padded plane on the stack, which then stays in L1 while its taps run over it; filters without a single
nonzero cost one store of the epilogue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sparsec.formats.coo import Coo
from sparsec.kernels.conv_layout import PaddedLayout, emit_copy, emit_fill, emit_pack
from sparsec.kernels.emit import Buffer, Index, choose, define, epilogue_buffers, fma, local, loop, when
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.pixel_tile import Tile, emit_store, plan
from sparsec.kernels.problem import ConvProblem, Problem
from torch_mlir import ir
from torch_mlir.dialects import arith

STACK_BYTES = 64 << 10  # a larger plane is copied by a call of its own
MOST_TAPS = 128  # all taps are written out


@dataclass(frozen=True, slots=True)
class ConvDepthwise:
    """groups == channels, any number of filters per channel, any rank, stride, dilation and padding."""

    name: str = "f32_conv_depthwise"
    format: str = "dense"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, ConvProblem) or problem.groups != problem.channels:
            return "only convolutions with as many groups as channels"
        return None if problem.taps <= MOST_TAPS else f"more than {MOST_TAPS} taps"

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, ConvProblem) and weight is not None
        dense = weight.to_dense() if isinstance(weight, Coo) else weight
        taps = np.ascontiguousarray(dense.reshape(problem.filters, problem.taps), dtype=np.float32)
        weights: dict[str, NDArray[np.generic]] = {"taps": taps.reshape(-1), "used": taps.any(axis=1).astype(np.int32)}
        plane = _Plane.of(problem, isa)
        function = _define(module, plane, epilogue, isa)
        tails = epilogue_buffers(epilogue, problem.batch * problem.filters * problem.pixels, problem.filters)
        products = problem.batch * problem.pixels * problem.taps * int(weights["used"].sum())
        units = problem.batch * problem.channels
        call = Call(function, (plane.source, "taps", "used", *tails, "y"), units, max(products, 1))
        if plane.on_stack or not plane.layout.copied:
            return LoweredLayer((call,), weights)
        return LoweredLayer((emit_pack(module, problem, isa), call), weights, {"padded": plane.layout.scratch_elements})


@dataclass(frozen=True, slots=True)
class _Plane:
    """How one channel is read: `layout` of the whole problem, `tile` of its pixels, and whether the copy lies `on_stack`."""

    layout: PaddedLayout
    tile: Tile
    on_stack: bool

    @classmethod
    def of(cls, problem: ConvProblem, isa: Isa) -> _Plane:
        layout = PaddedLayout.of(problem, isa)
        tile = plan(layout, isa, most=isa.registers // 2 - 2, work=problem.taps)
        fits = 4 * (layout.channel + layout.slack) <= STACK_BYTES
        return cls(layout, tile, layout.copied and fits)

    @property
    def source(self) -> str:
        return "x" if self.on_stack else self.layout.source


def _define(module: ir.Module, plane: _Plane, epilogue: Epilogue, isa: Isa) -> str:
    """Add the kernel; one unit is one channel of one image."""
    layout, tile, problem = plane.layout, plane.tile, plane.layout.problem
    size = int(np.prod([axis.size for axis in problem.axes]))
    outputs = problem.batch * problem.filters * problem.pixels
    spec = {
        plane.source: ("f32", problem.batch * problem.channels * size if plane.on_stack else layout.source_elements),
        "taps": ("f32", problem.filters * problem.taps),
        "used": ("i32", problem.filters),
        **epilogue_buffers(epilogue, outputs, problem.filters),
        "y": ("f32", outputs),
    }
    digest = hashlib.sha256(f"{problem}{epilogue.tag}".encode()).hexdigest()[:8]
    name = f"f32_conv_depthwise_{len(tile.steps)}x{tile.lanes}_{digest}_{isa.suffix}"
    multiplier = problem.filters // problem.channels

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        stack = local("f32", layout.channel + layout.slack) if plane.on_stack else None
        if stack is not None:
            emit_fill(stack, Index(0), stack.size, isa)
        with loop(begin, end) as unit:
            channel, image = unit % problem.channels, unit // problem.channels
            base = unit * layout.channel
            if stack is not None:
                base = Index(0)
                with when(_any_used(buffers["used"], channel, multiplier)):
                    emit_copy(layout, buffers["x"], unit * size, stack, Index(0), isa)
            with loop(0, multiplier) as which:
                number = channel * multiplier + which
                element = (image * problem.filters + number) * problem.pixels
                source = stack if stack is not None else buffers[plane.source]
                _emit_filter(plane, epilogue, buffers, source, base, number, element)

    define(module, name, spec, body)
    return name


def _any_used(used: Buffer, channel: Index, multiplier: int) -> ir.Value:
    first = channel * multiplier
    total = used.load(first)
    for number in range(1, multiplier):
        total = arith.ori(total, used.load(first + number))
    return arith.trunci(ir.IntegerType.get_signless(1), total)


def _emit_filter(
    plane: _Plane,
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    source: Buffer,
    base: Index,
    number: Index,
    element: Index,
) -> None:
    """All pixels of one filter, whose output begins at `element`."""
    tile = plane.tile
    zeros = [tile.vectors.splat(0.0)] * len(tile.steps)

    def used() -> None:
        with loop(0, tile.count) as part:
            position, pixel = tile.origin(part)
            sums = _emit_taps(plane, buffers["taps"], source, base + position, number, zeros)
            emit_store(tile, sums, epilogue, buffers, element=element + pixel, channel=number)

    def empty() -> None:
        with loop(0, tile.count) as part:
            emit_store(tile, zeros, epilogue, buffers, element=element + tile.origin(part)[1], channel=number)

    choose(buffers["used"].load_index(number).equals(1), used, empty)


def _emit_taps(
    plane: _Plane, taps: Buffer, source: Buffer, at: Index, number: Index, sums: list[ir.Value]
) -> list[ir.Value]:
    """The sums of one tile."""
    sums, vectors = list(sums), plane.tile.vectors
    first = number * plane.layout.problem.taps
    for tap, offset in enumerate(plane.layout.window_offsets()):
        weight = vectors.load_splat(taps, first + tap)
        for which, step in enumerate(plane.tile.steps):
            sums[which] = fma(weight, vectors.load(source, at + (step + int(offset))), sums[which])
    return sums
