"""Convolutions of reduced precision: neighbouring channels side by side in words, on which kernels work as on fp32.

x [batch][groups][channels of a group][samples] is copied to words [batch][groups][words of a group][samples]: a word holds
the same sample of several channels. What a kernel then computes is a convolution with so many fewer channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch_mlir import ir

from sparsec.formats.coo import Coo, as_dense
from sparsec.kernels.conv_copy import BYTES
from sparsec.kernels.emit import Buffer, Vectors, choose, define, loop
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.pack_words import PACKED
from sparsec.kernels.problem import ConvProblem
from sparsec.kernels.words import Encoded, Words, words_of


@dataclass(frozen=True, slots=True)
class ConvWords:
    """`given` is the convolution of elements, `problem` the same one of words, with words as its channels."""

    given: ConvProblem
    problem: ConvProblem
    words: Words

    @classmethod
    def of(cls, given: ConvProblem, isa: Isa) -> ConvWords:
        words = words_of(given.arithmetic, isa)
        assert words is not None
        channels = given.groups * words.count(given.channels // given.groups)
        return cls(given, replace(given, channels=channels), words)

    @property
    def samples(self) -> int:
        """Samples of a channel."""
        return math.prod(axis.size for axis in self.given.axes)

    @property
    def elements(self) -> int:
        """Words of x."""
        return self.problem.batch * self.problem.channels * self.samples

    def arrange(self, weight: Weight) -> Coo:
        """The weight as [filters, words of a filter * elements of a word]; words in the order [channels][taps]."""
        coo = weight if isinstance(weight, Coo) else Coo.from_dense(weight)
        group, taps = self.words.group, self.given.taps
        inside = self.problem.channels // self.problem.groups * taps * group
        filters, place = np.divmod(coo.indices, max(self.given.reduction, 1))
        channel, tap = np.divmod(place, max(taps, 1))
        target = filters * inside + (channel // group * taps + tap) * group + channel % group
        order = np.argsort(target)
        return Coo((self.given.filters, inside), target[order], coo.values[order])

    def encode(self, weight: Weight) -> Encoded:
        """The words of a dense weight, [filters, words of a filter]."""
        dense = np.asarray(as_dense(weight))
        channels, group, taps = self.given.channels // self.given.groups, self.words.group, self.given.taps
        matrix = dense.reshape(self.given.filters, channels, taps)
        filled = np.pad(matrix, [(0, 0), (0, -channels % group), (0, 0)])
        grouped = filled.reshape(self.given.filters, filled.shape[1] // group, group, taps).transpose(0, 1, 3, 2)
        return self.words.encode(grouped).reshape(self.given.filters, -1 if grouped.size else 0)

    def convert(self, module: ir.Module, layer: LoweredLayer, isa: Isa) -> LoweredLayer:
        """The layer with the words that it reads made of x first, if x does not consist of words."""
        if self.words.plain:
            return layer
        scratch = {PACKED: (self.words.dtype, self.elements), **layer.scratch}
        return replace(layer, calls=(self._pack(module, isa), *layer.calls), scratch=scratch)

    def _pack(self, module: ir.Module, isa: Isa) -> Call:
        """Add the function that copies "x" to words; a unit is one of their channels."""
        words, samples = self.words, self.samples
        lanes = isa.lanes_for(samples)
        if words.element == words.arithmetic.stored == "i8" and isa.lanes() < BYTES <= samples:
            lanes = BYTES
        channels, inside = self.given.channels // self.given.groups, self.problem.channels // self.problem.groups
        shape = f"{self.given.batch}x{self.given.groups}x{channels}x{samples}"
        name = f"{words.arithmetic.name}_pack_channels_{shape}_{words.element}_{isa.suffix}"
        elements = self.given.batch * self.given.channels * samples
        spec = {"x": (words.arithmetic.stored, elements), PACKED: (words.dtype, self.elements)}
        units = self.problem.batch * self.problem.channels
        stored = Vectors(lanes, words.arithmetic.stored)

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            def copy(unit: Index, source: Index, count: int) -> None:
                with loop(0, -(-samples // lanes)) as number:
                    at = minimum(number * lanes, samples - lanes)
                    parts = [stored.load(buffers["x"], source + channel * samples + at) for channel in range(count)]
                    joined = words.interleave(parts) if lanes == BYTES > isa.lanes() else words.join(parts)
                    Vectors(lanes, words.dtype).store(joined, buffers[PACKED], unit * samples + at)

            left = channels % words.group
            with loop(begin, end) as unit:
                block, word = unit // inside, unit % inside
                source = (block * channels + word * words.group) * samples
                if left:
                    choose(
                        word.equals(inside - 1),
                        lambda: copy(unit, source, left),
                        lambda: copy(unit, source, words.group),
                    )
                else:
                    copy(unit, source, words.group)

        define(module, name, spec, body)
        return Call(name, tuple(spec), units, products=elements)
