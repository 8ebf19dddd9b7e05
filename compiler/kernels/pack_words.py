"""Rows of activations become rows of words, where they are not words as they are stored."""

from __future__ import annotations

from collections.abc import Mapping

from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, define, loop
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.problem import ConvProblem
from sparsec.kernels.words import Words, words_of

PACKED = "words"
CONVERTED = 24  # multiply-adds that take as long as converting an element


def source_of(problem: ConvProblem, isa: Isa) -> tuple[str, Words]:
    """The buffer that holds the words of x of a convolution, and what they are."""
    words = words_of(problem.arithmetic, isa)
    assert words is not None
    return ("x" if words.plain else PACKED), words


def emit_pack_rows(
    module: ir.Module,
    rows: int,
    inputs: int,
    words: Words,
    isa: Isa,
    *,
    filled: tuple[int, int] | None = None,
    source: str = "x",
) -> Call:
    """Add the function that converts `source` [rows, inputs] to "words" [rows, words]; one unit is a row.

    "words" may be `filled` up to more rows, which are not written, and longer ones, which end in zeros: by less than a
    vector, to a number of whole vectors.
    """
    lanes = isa.lanes()
    height, width = filled or (rows, words.count(inputs))
    name = f"{words.arithmetic.name}_pack_rows_{rows}x{inputs}_{height}x{width}_{words.element}_{isa.suffix}"
    spec = {"x": (words.arithmetic.stored, rows * inputs), PACKED: (words.dtype, height * width)}

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        with loop(begin, end) as row:
            pack_row(buffers["x"], row * inputs, inputs, buffers[PACKED], row * width, width, words, lanes)

    define(module, name, spec, body)
    return Call(name, (source, PACKED), rows, products=CONVERTED * rows * inputs)


def pack_row(
    source: Buffer, at: Index, inputs: int, target: Buffer, to: Index, width: int, words: Words, lanes: int
) -> None:
    """Store `inputs` elements as `width` words, the last ones zeros; these are too few to fill a vector of `lanes`."""
    vectors = Vectors(lanes, words.dtype)
    whole = inputs // words.group // lanes * lanes
    with loop(0, whole, lanes) as first:
        vectors.store(words.load(source, at + first * words.group, lanes), target, to + first)
    if width > whole:
        value = words.load(source, at + whole * words.group, lanes, inputs - whole * words.group)
        vectors.store(value, target, to + whole, vectors.mask(width - whole))
