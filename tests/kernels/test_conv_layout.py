"""The padded layout against NumPy: the pack writes what every tap reads, and tiles cover the output."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsec.kernels.conv_copy import emit_pack
from sparsec.kernels.conv_layout import PaddedLayout
from sparsec.kernels.isa import AVX2, AVX512, Isa
from sparsec.kernels.pixel_tile import Tile, plan
from sparsec.kernels.problem import Axis, ConvProblem


@st.composite
def axes(draw: st.DrawFn, most: int = 40) -> Axis:
    stride, dilation, kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    before, after = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    least = max(1, dilation * (kernel - 1) + 1 - before - after)
    return Axis(draw(st.integers(least, max(least, most))), kernel, stride, dilation, before, after)


@st.composite
def problems(draw: st.DrawFn, channels: int = 3) -> ConvProblem:
    rank = draw(st.integers(1, 3))
    shape = tuple(draw(axes(most=(200, 40, 12)[rank - 1])) for _ in range(rank))
    if draw(st.integers(0, 3)) == 0:
        shape = tuple(Axis(axis.size, 1) for axis in shape)
    return ConvProblem(draw(st.integers(1, 2)), draw(st.integers(1, channels)), 1, 1, shape)


def pixel_positions(tile: Tile) -> list[tuple[int, int]]:
    """(position, pixel) of every lane that the tiles store."""
    found = []
    for number in np.ndindex(*tile.counts):
        starts = [
            min(n * length, size - length) for n, length, (size, _) in zip(number, tile.lengths, tile.axes, strict=True)
        ]
        position = sum(start * stride for start, (_, stride) in zip(starts, tile.axes, strict=True))
        pixel = int(np.ravel_multi_index(starts, [size for size, _ in tile.axes]))
        for piece in tile.pieces:
            for lane, (source, place) in enumerate(piece.picks):
                found.append((position + tile.steps[source] + place, pixel + piece.step + lane))
    return found


@settings(max_examples=300)
@given(problems(), st.sampled_from([AVX512, AVX2]), st.integers(1, 16), st.floats(0.0, 30.0))
def test_tiles_store_every_pixel_from_its_position(problem: ConvProblem, isa: Isa, most: int, work: float) -> None:
    layout = PaddedLayout.of(problem, isa, aligned=True)
    tile = plan(layout, isa, most=most, work=work)
    places = np.ndindex(*(axis.out for axis in problem.axes))
    expected = [sum(i * s for i, s in zip(place, layout.strides, strict=True)) for place in places]
    found = pixel_positions(tile)
    assert len(tile.steps) <= most or most == 1
    assert {pixel for _, pixel in found} == set(range(problem.pixels))
    assert all(position == expected[pixel] for position, pixel in found)


@settings(max_examples=300)
@given(problems(), st.sampled_from([AVX512, AVX2]), st.booleans())
def test_reads_stay_inside(problem: ConvProblem, isa: Isa, aligned: bool) -> None:
    layout = PaddedLayout.of(problem, isa, aligned=aligned)
    tile = plan(layout, isa, most=8, work=9.0)
    last = sum((size - length) * stride for (size, stride), length in zip(tile.axes, tile.lengths, strict=True))
    reach = last + max(tile.steps) + tile.lanes + int(layout.tap_offsets().max()) + (problem.batch - 1) * layout.image
    assert reach <= layout.source_elements
    assert layout.tap_offsets().min() >= 0


@settings(max_examples=300)
@given(problems())
def test_model_of_the_layout_gives_the_window(problem: ConvProblem) -> None:
    """The planes filled by NumPy: reading position + tap offset is reading the padded input."""
    layout = PaddedLayout.of(problem, AVX512)
    x = 1.0 + np.arange(problem.batch * problem.channels * np.prod([a.size for a in problem.axes]))
    x = x.reshape(problem.batch, problem.channels, *(axis.size for axis in problem.axes))
    check_windows(layout, x, model(layout, x) if layout.copied else x.reshape(-1))


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(problems(), st.sampled_from([AVX512, AVX2]), st.sampled_from([(), (0.3, 0.6)]))
def test_pack_writes_the_layout(problem: ConvProblem, isa: Isa, cuts: tuple[float, ...]) -> None:
    layout = PaddedLayout.of(problem, isa)
    if not layout.copied:
        return
    x = np.random.default_rng(0).standard_normal(
        (problem.batch, problem.channels, *(axis.size for axis in problem.axes)), dtype=np.float32
    )
    padded = pack(problem, isa, x, cuts)
    np.testing.assert_array_equal(padded, model(layout, x))


def model(layout: PaddedLayout, x: np.ndarray) -> np.ndarray:
    problem = layout.problem
    planes = np.zeros(layout.scratch_elements, dtype=x.dtype)
    for b, c in np.ndindex(problem.batch, problem.channels):
        for ordinals in np.ndindex(*(len(line.phases) for line in layout.lines)):
            phases = [line.phases[o] for line, o in zip(layout.lines, ordinals, strict=True)]
            for place in np.ndindex(*(phase.count for phase in phases)):
                source = tuple(p.first + a.stride * i for p, a, i in zip(phases, problem.axes, place, strict=True))
                target = sum((p.lead + i) * s for p, i, s in zip(phases, place, layout.strides, strict=True))
                at = b * layout.image + c * layout.channel + layout.plane_offset(ordinals) + target
                assert planes[at] == 0
                planes[at] = x[b, c, *source]
    return planes


def check_windows(layout: PaddedLayout, x: np.ndarray, planes: np.ndarray) -> None:
    problem = layout.problem
    padded = np.pad(x, [(0, 0), (0, 0), *((axis.before, axis.after) for axis in problem.axes)])
    offsets = layout.tap_offsets()
    outs = [axis.out for axis in problem.axes]
    grid = sum(i * s for i, s in zip(np.indices(outs), layout.strides, strict=True))
    for number, taps in enumerate(np.ndindex(*(axis.kernel for axis in problem.axes))):
        window = tuple(
            slice(t * a.dilation, t * a.dilation + (a.out - 1) * a.stride + 1, a.stride)
            for t, a in zip(taps, problem.axes, strict=True)
        )
        for b, c in np.ndindex(problem.batch, problem.channels):
            read = planes[b * layout.image + grid + offsets[c, number]]
            np.testing.assert_array_equal(read, padded[(b, c, *window)])


def pack(problem: ConvProblem, isa: Isa, x: np.ndarray, cuts: tuple[float, ...]) -> np.ndarray:
    from harness import aligned, compile_text, place, to_llvm
    from torch_mlir import ir

    with ir.Context() as context, ir.Location.unknown():
        context.enable_multithreading(False)
        module = ir.Module.create()
        call = emit_pack(module, PaddedLayout.of(problem, isa), isa)
        assert emit_pack(module, PaddedLayout.of(problem, isa), isa) == call
        machine = compile_text(to_llvm(module), isa)
    padded = aligned(PaddedLayout.of(problem, isa).scratch_elements, np.float32)
    source = place(x)
    function = machine.function(call.function, 2)
    bounds = [0, *(int(cut * call.extent) for cut in cuts), call.extent]
    for begin, end in reversed(list(pairwise(bounds))):
        function(source.ctypes.data, padded.ctypes.data, begin, end)
    return padded


@pytest.mark.parametrize(("size", "vectors"), [(7, 4), (14, 14), (20, 28), (28, 56), (56, 228)])
def test_small_maps_waste_little(size: int, vectors: int) -> None:
    axis = Axis(size, 3, 1, 1, 1, 1)
    tile = plan(PaddedLayout.of(ConvProblem(1, 1, 1, 1, (axis, axis)), AVX512), AVX512, most=14, work=9.0)
    assert tile.count * len(tile.steps) <= vectors
