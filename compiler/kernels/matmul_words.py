"""Product of two activations of bytes, with exact 32-bit sums: words of p are broadcast, vectors lie along the columns of q.

With p' = p - s and q' = q - r as the instruction wants them (unsigned or signed), and so for the zero points a and b,

    sum over k of (p - a) (q - b)  =  sum p' q'  -  a' sum q'  -  b' sum p'  +  k a' b'

q is put in words [depth][columns] first, beside which the second term of each column is summed; the others are a number
for each row (Jacob et al., CVPR 2018, section 2.3). 32-bit sums wrap, so that only the result must fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from sparsec.kernels.arithmetic import U8S8
from sparsec.kernels.emit import Buffer, Vectors, add, carry, define, epilogue_buffers, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.pack_words import PACKED, emit_pack_rows
from sparsec.kernels.problem import MatmulProblem, Problem, dense_products
from sparsec.kernels.store import Output, transposed
from sparsec.kernels.tile import Grid, Tile, multiply
from sparsec.kernels.words import Words, refusal, words_of

INT32_MAX, LARGEST = 2**31 - 1, 255**2  # of a sum, and of a product
RIGHT, RIGHT_SUMS, LEFT_SUMS = "q.words", "q.sums", "p.sums"
MOVED = 4  # multiply-adds that take as long as moving a byte of q


@dataclass(frozen=True, slots=True)
class MatmulWords:
    """`u8s8_matmul_dense`: a unit is one tile of one product. p and q are unsigned bytes, less the problem's `zeros`."""

    name: str = "u8s8_matmul_dense"
    format: str = "dense"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, MatmulProblem):
            return "not a product of two activations"
        if (other := refusal(problem.arithmetic, U8S8, isa)) is not None:
            return other
        if problem.shared_left or problem.shared_right or not problem.inner:
            return "only products with sums, and a q for each p"
        return "sums of its products may exceed 32 bits" if problem.inner * LARGEST > INT32_MAX else None

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, MatmulProblem)
        assert weight is None
        words = words_of(U8S8, isa)
        assert words is not None
        if not problem.batch or not problem.rows or not problem.columns:
            return LoweredLayer(())
        product = _Product(problem, words, isa)
        calls = [product.pack_right(module)]
        if not words.direct(problem.inner):
            rows = problem.batch * problem.rows
            calls.append(emit_pack_rows(module, rows, problem.inner, words, isa, source="p"))
        if product.right_zero:
            calls.append(product.sum_left(module))
        return LoweredLayer((*calls, product.multiply(module, epilogue)), scratch=product.scratch)


@dataclass(frozen=True, slots=True)
class _Product:
    """The functions of one problem. q becomes words [batch][depth][pitch], whole vectors of columns."""

    problem: MatmulProblem
    words: Words
    isa: Isa

    @property
    def depth(self) -> int:
        """Words of a row of p."""
        return self.words.count(self.problem.inner)

    @property
    def lanes(self) -> int:
        return self.isa.lanes()

    @property
    def bands(self) -> int:
        """Vectors of columns."""
        return -(-self.problem.columns // self.lanes)

    @property
    def pitch(self) -> int:
        return self.bands * self.lanes

    @property
    def shift(self) -> int:
        """What elements of q are less in words: bytes are signed there."""
        return 128 if self.words.element == "i8" else 0

    @property
    def left_zero(self) -> int:
        return self.problem.zeros[0] - self.words.shift

    @property
    def right_zero(self) -> int:
        return self.problem.zeros[1] - self.shift

    @property
    def scratch(self) -> dict[str, tuple[str, int]]:
        """What lies between the calls."""
        rows = self.problem.batch * self.problem.rows
        found = {RIGHT: ("i32", self.problem.batch * self.depth * self.pitch)}
        if self.left_zero:
            found[RIGHT_SUMS] = ("i32", self.problem.batch * self.pitch)
        if not self.words.direct(self.problem.inner):
            found[PACKED] = ("i32", rows * self.depth)
        if self.right_zero:
            found[LEFT_SUMS] = ("i32", rows)
        return found

    @property
    def name(self) -> str:
        """What is common to the names of its functions."""
        problem, turned = self.problem, "t" * self.problem.transposed
        shape = f"{problem.batch}x{problem.rows}x{problem.inner}x{problem.columns}{turned}"
        return f"{shape}_{problem.zeros[0]}_{problem.zeros[1]}_{self.words.element}_{self.isa.suffix}"

    def pack_right(self, module: ir.Module) -> Call:
        """Add the function that puts q in words; a unit is a vector of columns."""
        problem, size = self.problem, self.problem.batch * self.problem.inner * self.problem.columns
        scratch = self.scratch
        sums = {RIGHT_SUMS: scratch[RIGHT_SUMS]} if self.left_zero else {}
        spec = {"q": ("i8", size), RIGHT: scratch[RIGHT], **sums}
        name = f"u8_pack_right_{self.name}"

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            with loop(begin, end) as unit:
                plane, first = unit // self.bands, unit % self.bands * self.lanes
                target = plane * (self.depth * self.pitch) + first
                pack = self._pack_transposed if problem.transposed else self._pack_upright
                pack(memory["q"], plane * (problem.inner * problem.columns), first, memory[RIGHT], target)
                if self.left_zero:
                    self._sum_right(memory, target, unit * self.lanes)

        define(module, name, spec, body)
        return Call(name, tuple(spec), problem.batch * self.bands, MOVED * size)

    def _pack_upright(self, q: Buffer, plane: Index, first: Index, words: Buffer, target: Index) -> None:
        """The columns from `first` on of q [inner, columns] at `plane`: rows are joined."""
        columns, group = self.problem.columns, self.words.group
        narrow, wide = Vectors(self.lanes, "i8"), Vectors(self.lanes, "i32")
        mask = narrow.mask(minimum(self.lanes, columns - first)) if columns % self.lanes else None

        def word(at: Index, count: int) -> None:
            parts = [narrow.load(q, plane + (at * group + i) * columns + first, mask) for i in range(count)]
            joined = self.words.join([*parts, *[narrow.splat(self.shift)] * (group - count)])
            if self.shift != self.words.shift:
                joined = arith.xori(joined, wide.splat(_word(self.words, self.shift)))
            wide.store(joined, words, target + at * self.pitch)

        whole, left = divmod(self.problem.inner, group)
        with loop(0, whole) as at:
            word(at, group)
        if left:
            word(Index(whole), left)

    def _pack_transposed(self, q: Buffer, plane: Index, first: Index, words: Buffer, target: Index) -> None:
        """The same of q [columns, inner]: squares of words are turned."""
        inner, columns, side = self.problem.inner, self.problem.columns, self.lanes
        rows = [plane + minimum(first + row, columns - 1) * inner for row in range(side)]

        def square(at: Index, count: int, left: int | None) -> None:
            lines = [self._load_right(q, row + at * self.words.group, left) for row in rows]
            for number, line in enumerate(transposed(lines)[:count]):
                Vectors(side, "i32").store(line, words, target + (at + number) * self.pitch)

        whole = inner // (self.words.group * side) * side
        with loop(0, whole, side) as at:
            square(at, side, None)
        if whole < self.depth:
            square(Index(whole), self.depth - whole, inner - whole * self.words.group)

    def _load_right(self, q: Buffer, at: Index, left: int | None) -> ir.Value:
        """A vector of words of q, whose elements follow each other; only the first `left` are read, the others are 0 in words."""
        stored = Vectors(self.lanes * self.words.group, "i8")
        values = stored.load(q, at, stored.mask(left) if left is not None else None, self.shift)
        if self.words.element != "i8":
            values = arith.extui(Vectors(stored.lanes, self.words.element).type, values)
        elif self.shift:
            values = arith.xori(values, stored.splat(self.shift))
        return values if self.words.group == 1 else vector.bitcast(Vectors(self.lanes, "i32").type, values)

    def _sum_right(self, memory: Mapping[str, Buffer], target: Index, place: Index) -> None:
        """What each of the columns at `target` adds to its sums, for the zero point of p."""
        vectors = Vectors(self.lanes, "i32")
        ones = vectors.splat(_word(self.words, 1))

        def step(at: Index, totals: list[ir.Value]) -> list[ir.Value]:
            word = vectors.load(memory[RIGHT], target + at * self.pitch)
            return [self.words.multiply_add(ones, word, totals[0])]

        (total,) = carry(0, self.depth, 1, [vectors.splat(0)], step)
        vectors.store(arith.muli(total, _signed(vectors, -self.left_zero)), memory[RIGHT_SUMS], place)

    def sum_left(self, module: ir.Module) -> Call:
        """Add the function that sums each row of p, for the zero point of q; a unit is a row."""
        problem, rows = self.problem, self.problem.batch * self.problem.rows
        spec = {"p": ("i8", rows * problem.inner), LEFT_SUMS: self.scratch[LEFT_SUMS]}
        name, group, vectors = f"u8_sum_left_{self.name}", self.words.group, Vectors(self.lanes, "i32")
        step = group * self.lanes
        whole = problem.inner // step * step
        left = problem.inner - whole
        i32 = ir.IntegerType.get_signless(32, module.context)

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            with loop(begin, end) as row:

                def more(at: Index, totals: list[ir.Value], count: int = step) -> list[ir.Value]:
                    x = self.words.load(
                        memory["p"], row * problem.inner + at, self.lanes, None if count == step else count
                    )
                    ones = self.words.encode(np.arange(step) < count).astype(np.int32)
                    kind = vectors.type
                    weight = arith.constant(kind, ir.DenseElementsAttr.get(ones, type=kind))
                    return [self.words.multiply_add(x, weight, totals[0])]

                totals = carry(0, whole, step, [vectors.splat(0)], more)
                if left:
                    totals = more(Index(whole), totals, left)
                total = vector.reduction(i32, vector.CombiningKind.ADD, totals[0])
                scaled = arith.muli(total, arith.constant(i32, -self.right_zero))
                constant = arith.constant(i32, problem.inner * self.left_zero * self.right_zero)
                memory[LEFT_SUMS].store(arith.addi(scaled, constant), row)

        define(module, name, spec, body)
        return Call(name, tuple(spec), rows, rows * problem.inner)

    def multiply(self, module: ir.Module, epilogue: Epilogue) -> Call:
        """Add the product and its tail."""
        problem, words, depth, pitch = self.problem, self.words, self.depth, self.pitch
        b, n, m = problem.batch, problem.rows, problem.columns
        grid = Grid.plan(self.isa, n, m, depth, rows_apart=depth, total="i32")
        direct, scratch = words.direct(problem.inner), self.scratch
        source, apart = ("p", words.group) if direct else (PACKED, 1)  # elements of a word
        spec = {
            source: ("i8", b * n * problem.inner) if direct else scratch[PACKED],
            RIGHT: scratch[RIGHT],
            **{name: scratch[name] for name in (RIGHT_SUMS, LEFT_SUMS) if name in scratch},
            "y": (epilogue.result, b * n * m),
            **epilogue_buffers(epilogue, b * n * m, m),
        }
        name = f"u8s8_matmul_dense_{grid.tag}_{epilogue.tag}_{self.name}"

        def body(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            output = Output.of(module, name, self.isa, grid, epilogue, memory, m, along_channels=True)
            with loop(begin, end) as unit:
                image, part = unit // grid.tiles, unit % grid.tiles

                def sums(tile: Tile) -> list[ir.Value]:
                    rows, column = (image * n + tile.row) * (depth * apart), image * (depth * pitch) + tile.column
                    unmasked = replace(tile, mask=None)  # columns are padded
                    found = multiply(
                        tile,
                        depth,
                        lambda at: (
                            words.splat(memory[source], rows + (at + row * depth) * apart, self.lanes)
                            for row in range(tile.rows)
                        ),
                        lambda at: unmasked.load(memory[RIGHT], column + at * pitch),
                        words.multiply_add,
                    )
                    return self._mended(memory, unmasked, found, image)

                output.tile(
                    part // grid.columns.parts,
                    part % grid.columns.parts,
                    sums,
                    lambda row, column: (image * (n * m) + row * m + column, column),
                )

        define(module, name, spec, body)
        return Call(name, tuple(spec), b * grid.tiles, dense_products(problem))

    def _mended(self, memory: Mapping[str, Buffer], tile: Tile, sums: list[ir.Value], image: Index) -> list[ir.Value]:
        """The sums with what their rows and columns add."""
        if self.left_zero:
            across = tile.load(memory[RIGHT_SUMS], image * self.pitch + tile.column)
            sums = [add(total, across[number % tile.width]) for number, total in enumerate(sums)]
        if self.right_zero:
            first = image * self.problem.rows + tile.row
            down = [tile.vectors.load_splat(memory[LEFT_SUMS], first + row) for row in range(tile.rows)]
            sums = [add(total, down[number // tile.width]) for number, total in enumerate(sums)]
        return sums


def _word(words: Words, element: int) -> int:
    """The word all of whose elements are this byte."""
    bits = 32 // words.group
    return sum(element << place for place in range(0, 32, bits))


def _signed(vectors: Vectors, value: int) -> ir.Value:
    """A whole number in every lane."""
    return vectors.splat(value % (1 << 32))
