"""v of attention as the second product reads it: neighbouring keys side by side in words, in whole vectors of channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, choose, define, loop
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.problem import AttentionProblem, Lines
from sparsec.kernels.words import Words

VALUES = "value words"  # the buffer
_MOVED = 4  # multiply-adds that take as long as moving an element


@dataclass(frozen=True, slots=True)
class ValueWords:
    """v as [heads of all of the batch][words of keys][channels, filled up with zeros]; as it is stored where words are elements."""

    problem: AttentionProblem
    lanes: int
    words: Words

    @property
    def name(self) -> str:
        return "v" if self.words.plain else VALUES

    @property
    def bands(self) -> int:
        """Vectors of channels."""
        return -(-self.problem.size // self.lanes)

    @property
    def depth(self) -> int:
        """Words of a channel."""
        return self.words.count(self.problem.keys)

    @property
    def lines(self) -> Lines:
        """Where words of keys lie."""
        if self.words.plain:
            return self.problem.lines("v")
        pitch = self.bands * self.lanes
        return Lines(pitch, self.depth * pitch)

    @property
    def buffer(self) -> tuple[str, int]:
        """Its type and size."""
        if self.words.plain:
            return self.words.dtype, self.problem.elements("v")
        return self.words.dtype, self.problem.matrices * self.lines.matrix

    def emit(self, module: ir.Module, isa: Isa) -> Call:
        """Add the function that makes them of v; a unit is a word of keys of a head."""
        problem, words, depth = self.problem, self.words, self.depth
        stored, to, size = problem.lines("v"), self.lines, problem.size
        shape = f"{problem.matrices}x{problem.keys}x{size}_{stored.line}-{stored.matrix}"
        name = f"{problem.arithmetic.name}_value_words_{shape}_{isa.suffix}"
        spec = {"v": (problem.arithmetic.stored, problem.elements("v")), VALUES: self.buffer}
        whole, left = divmod(problem.keys, words.group)
        narrow, wide = Vectors(self.lanes, problem.arithmetic.stored), Vectors(self.lanes, words.dtype)

        def join(memory: Mapping[str, Buffer], source: Index, target: Index, count: int) -> None:
            """Join `count` keys."""
            for first in range(0, size, self.lanes):
                mask = narrow.mask(size - first)
                parts = [narrow.load(memory["v"], source + (key * stored.line + first), mask) for key in range(count)]
                wide.store(words.join(parts), memory[VALUES], target + first)

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            with loop(begin, end) as unit:
                head, word = unit // depth, unit % depth
                place = memory, head * stored.matrix + word * (words.group * stored.line), unit * to.line
                if whole == depth:
                    join(*place, words.group)
                else:
                    choose(word < whole, lambda: join(*place, words.group), lambda: join(*place, left))

        define(module, name, spec, body)
        return Call(name, tuple(spec), problem.matrices * depth, _MOVED * problem.elements("v"))
