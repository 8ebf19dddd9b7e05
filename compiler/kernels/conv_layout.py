"""Where a convolution's input lies so that every tap is one constant offset.

The input is copied, channel by channel, to planes in which the padding is real and samples are sorted by stride
phase (a polyphase layout): sample `s * i + q` of an axis of stride `s` is element `i` of phase `q`. Output pixel (oy, ox) then
has the *position* `oy * pitch + ox`, and a tap reads element `position + constant`. The padding after one row is the padding
before the next one, so little is wasted; it is `ConvProblem.pad_value`, 0 where nothing else is said. A convolution that
reads each pixel at its own place needs no copy: there a position is the pixel's number in x itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.kernels.isa import Isa
from sparsec.kernels.problem import Axis, ConvProblem

CLASH = 512  # elements; channels a multiple of this apart share a few sets of the level-1 cache
APART = 16  # elements between such channels: a cache line


@dataclass(frozen=True, slots=True)
class Phase:
    """Samples `first + stride * j`, j < count, are elements `lead + j` of phase `number`; all others are zero."""

    number: int
    lead: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Line:
    """One axis: `extent` elements of each phase are read; rows follow each other after `period` <= extent."""

    phases: tuple[Phase, ...]
    extent: int
    period: int

    @classmethod
    def of(cls, axis: Axis) -> Line:
        """The line of an axis: only phases that some tap reads, sharing zeros with its neighbours."""
        extent = axis.out + axis.dilation * (axis.kernel - 1) // axis.stride
        numbers = sorted({tap * axis.dilation % axis.stride for tap in range(axis.kernel)})
        phases = tuple(_phase(axis, number, extent) for number in numbers)
        shared = min(phase.lead for phase in phases)
        used = max((phase.lead + phase.count for phase in phases if phase.count), default=0)
        return cls(phases, extent, max(extent - shared, used, axis.out))


def _phase(axis: Axis, number: int, extent: int) -> Phase:
    lead = max(0, -(-(axis.before - number) // axis.stride))
    behind = min(extent, (axis.before + axis.size - 1 - number) // axis.stride + 1)
    if behind <= lead:
        return Phase(number, extent, 0, 0)
    return Phase(number, lead, axis.stride * lead + number - axis.before, behind - lead)


@dataclass(frozen=True, slots=True)
class PaddedLayout:
    """The planes of one convolution: [batch][channels][phases][rows][pitch] elements, or x itself if not `copied`.

    Channels begin at multiples of `alignment` elements.
    """

    problem: ConvProblem
    lines: tuple[Line, ...]
    copied: bool
    slack: int
    alignment: int = 1

    @classmethod
    def of(cls, problem: ConvProblem, isa: Isa, *, aligned: bool = False) -> PaddedLayout:
        """The layout.

        `aligned` copies also an input that could be read in place, if that makes its vectors aligned or moves its
        channels to different sets of the cache.
        """
        lines = tuple(Line.of(axis) for axis in problem.axes)
        halo = sum((line.extent - line.period) * step for line, step in zip(lines, _strides(lines), strict=True))
        aligned = aligned and problem.pointwise and problem.pixels > isa.lanes()
        aligned = aligned and (problem.pixels % isa.lanes() > 0 or problem.pixels % CLASH == 0)
        copied, alignment = aligned or not problem.pointwise, isa.lanes() if aligned else 1
        return cls(problem, lines, copied, slack=halo + isa.lanes(), alignment=alignment)

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements between neighbours along each axis."""
        return _strides(self.lines)

    @property
    def plane(self) -> int:
        """Elements of one phase of one channel."""
        return math.prod(line.period for line in self.lines)

    @property
    def channel(self) -> int:
        """Elements of one channel."""
        size = _round_up(self.plane * math.prod(len(line.phases) for line in self.lines), self.alignment)
        return size + APART if self.copied and size % CLASH == 0 else size

    @property
    def image(self) -> int:
        """Elements of one image of the batch."""
        return self.channel * self.problem.channels

    @property
    def scratch_elements(self) -> int:
        """Size of the buffer "padded"; 0 if x is read in place."""
        return self.problem.batch * self.image + self.slack if self.copied else 0

    @property
    def source_elements(self) -> int:
        """Size of the buffer that taps read."""
        return self.scratch_elements or self.problem.batch * self.image

    def plane_offset(self, phases: tuple[int, ...]) -> int:
        """Where in a channel the plane of the used phases with these ordinals begins."""
        return int(np.ravel_multi_index(phases, [len(line.phases) for line in self.lines])) * self.plane

    def window_offsets(self) -> NDArray[np.int64]:
        """Element offset of each tap (row-major) from an output position, inside one channel."""
        steps = self.strides
        offsets = []
        for taps in np.ndindex(*(axis.kernel for axis in self.problem.axes)):
            shifts, ordinals = [], []
            for tap, axis, line in zip(taps, self.problem.axes, self.lines, strict=True):
                shift, number = divmod(tap * axis.dilation, axis.stride)
                shifts.append(shift)
                ordinals.append([phase.number for phase in line.phases].index(number))
            inside = sum(shift * step for shift, step in zip(shifts, steps, strict=True))
            offsets.append(self.plane_offset(tuple(ordinals)) + inside)
        return np.array(offsets, dtype=np.int64)

    def tap_offsets(self) -> NDArray[np.int64]:
        """Element offset per (channel, tap) from an output position, inside one image: [channels, taps]."""
        return np.arange(self.problem.channels)[:, None] * self.channel + self.window_offsets()[None, :]

    def pixel_axes(self) -> tuple[tuple[int, int], ...]:
        """(outputs, position stride) per axis; axes without waste between them are joined. The last stride is 1."""
        joined: list[tuple[int, int]] = []
        for axis, step in zip(self.problem.axes, self.strides, strict=True):
            if joined and joined[-1][1] == axis.out * step:
                joined[-1] = (joined[-1][0] * axis.out, step)
            else:
                joined.append((axis.out, step))
        return tuple(joined)


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _strides(lines: tuple[Line, ...]) -> tuple[int, ...]:
    return tuple(math.prod(line.period for line in lines[number + 1 :]) for number in range(len(lines)))
