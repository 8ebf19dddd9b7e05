"""Cycles of the steps that costs of kernels are made of: instructions, bytes that stream in, copies before and after products."""

from __future__ import annotations

import math

from sparsec.cost.machine import Machine
from sparsec.formats.facts import Facts
from sparsec.kernels.byte_rows import GROUP as GATHERED
from sparsec.kernels.conv_layout import CLASH
from sparsec.kernels.conv_words import ConvWords
from sparsec.kernels.isa import Isa
from sparsec.kernels.linear_gathered import HEIGHTS, block_cycles
from sparsec.kernels.problem import AttentionProblem, ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.kernels.words import Words, words_of

ROW_CYCLES = 12.0  # to start and store a row of a tile, or of a block of its columns
TURN_CYCLES = {16: 4.6, 32: 2.3, 64: 4.6}  # per vector of so many bytes that is transposed on its way in
_TURN_OUT_CYCLES = {16: 3.2, 32: 1.6, 64: 3.2}  # the same on its way out, and stored
_FAR_STORE_CYCLES = 1.0  # more where y does not fit level-2 cache
_NEAR_BYTES = 1 << 20  # outputs beyond this are written behind level-2 cache
_COPY_CYCLES = 7.5  # per vector of input that is copied to padded planes
_PHASES_CYCLES = 10.0  # the same where a stride deals it to several planes
_FAR_ROWS_CYCLES = 2.5  # more for a word of four rows of bytes from level-2 cache
# A column of a bundle of so many rows: per vector, per tile, and in a tile of one vector.
_BUNDLE_CYCLES = {2: (0.95, 0.1, 1.35), 4: (2.06, 0.35, 2.7)}
_BUNDLE_WIDTHS = {16: 1.0, 32: 0.9, 64: 1.0}  # times as long with vectors of so many bytes
PACK_CYCLES = 12.0  # to convert 64 elements of x to words
# The same of convolutions of bytes in vectors of 64 of them, and to start and store a row of blocks of these.
_BYTES_PACK_CYCLES, _BYTES_ROW_CYCLES = 4.6, 21.0
_INSTRUCTIONS = {"vpmaddwd": 1.15, "vpmulld": 3.0, "mla": 2.0}  # times as long as a multiply-add, where it is not one
_SERVER_INSTRUCTIONS = {"vdpbf16ps": 8.0}  # the same on Intel, whose servers have tile registers for that


def words_for(problem: Problem, isa: Isa) -> Words:
    """The words that a problem is computed in."""
    words = words_of(problem.arithmetic, isa)
    assert words is not None, "kernels of an arithmetic that the instruction set has not refuse"
    return words


def instruction_cycles(words: Words, isa: Isa) -> float:
    """How many times as long as a multiply-add the instruction of words takes."""
    slow = _SERVER_INSTRUCTIONS if isa.tile_registers else {}
    return slow.get(words.instruction, _INSTRUCTIONS.get(words.instruction, 1.0))


def dot_cycles(problem: Problem, isa: Isa, machine: Machine) -> float:
    """Cycles of one multiply-add of vectors of words in registers."""
    return instruction_cycles(words_for(problem, isa), isa) / machine.vector_fma_per_cycle


def gathered_cycles(
    facts: Facts, vectors: int, tiles: int, isa: Isa, machine: Machine, *, beside: int = 1, parts: int = 1
) -> float:
    """Products of words of any four columns: the best height of blocks, half of each visit's last words filled up.

    Single rows may have so many words `beside` each other, and be visited in several `parts`.
    """

    size = isa.vector_bytes * facts.columns
    # Rows of bytes that level-1 cache has no room for; where interleaving takes a cycle each, that is hidden.
    far = max(1 - machine.l1_bytes / size, 0.0) if size and not isa.tile_registers else 0.0

    def cycles(height: int, blocks: int) -> float:
        paired = beside > 1 and height == 1
        visits = math.ceil(facts.rows / height) * (parts if paired else 1)
        filled = blocks + GATHERED // 2 * visits * (beside if paired else 1)
        products = block_cycles(height, filled, vectors, tiles, isa, beside=beside if paired else 1)
        if not paired:
            products += _FAR_ROWS_CYCLES * far * tiles * blocks / GATHERED
        return products + tiles * (streaming_cycles((4 + height) * blocks, machine) + ROW_CYCLES * visits)

    return min(cycles(height, blocks) for height, blocks in facts.row_blocks if height in HEIGHTS)


def bundle_cycles(height: int, columns: float, bundles: float, vectors: int, tiles: float, isa: Isa) -> float:
    """Columns that rows of a bundle share, and a visit of each bundle in each tile."""
    wide, each, narrow = _BUNDLE_CYCLES[height]
    products = columns * max(wide * vectors + each * tiles, narrow * tiles) * _BUNDLE_WIDTHS[isa.vector_bytes]
    return products + bundles * (14.0 * tiles + 1.5 * height * vectors)


def wide_bytes(problem: Problem, isa: Isa) -> bool:
    """Whether it is a convolution of words of bytes in vectors of 64 bytes, which costs less beside its products."""
    return isinstance(problem, ConvProblem) and isa.vector_bytes == 64 and words_for(problem, isa).element == "i8"


def row_cycles(problem: Problem, isa: Isa) -> float:
    """To start a row of blocks in a tile, and to store it where `store_cycles` does not count that."""
    return _BYTES_ROW_CYCLES if wide_bytes(problem, isa) else ROW_CYCLES


def converted_cycles(problem: Problem, isa: Isa) -> float:
    """Elements that become words."""
    each = _BYTES_PACK_CYCLES if wide_bytes(problem, isa) else PACK_CYCLES
    return 0.0 if words_for(problem, isa).plain else each * input_elements(problem) / 64


def store_cycles(problem: Problem, isa: Isa) -> float:
    """What comes before and after the products: copied or transposed inputs, transposed or shifted outputs."""
    if isinstance(problem, ConvProblem):
        inner = ConvWords.of(problem, isa).problem
        copied = copy_cycles(inner, isa) + apart_cycles(inner, isa) + converted_cycles(problem, isa)
        stored = 0.0 if wide_bytes(problem, isa) else 1.5 * problem.filters * vectors_per_row(problem, isa)
        return copied + stored
    assert isinstance(problem, LinearProblem)
    vectors = vectors_per_row(problem, isa)
    far = _FAR_STORE_CYCLES if 4 * problem.tokens * problem.outputs > _NEAR_BYTES else 0.0
    inputs = words_for(problem, isa).count(problem.inputs)
    turned, turned_out = TURN_CYCLES[isa.vector_bytes], _TURN_OUT_CYCLES[isa.vector_bytes]
    return vectors * (turned * inputs + (turned_out + far) * problem.outputs)


def vectors_per_row(problem: Problem, isa: Isa) -> int:
    """Vectors of pixels or tokens that one row of a sparse weight is multiplied with."""
    match problem:
        case ConvProblem():
            return problem.batch * math.ceil(problem.pixels / isa.lanes())
        case LinearProblem():
            return math.ceil(problem.tokens / isa.lanes())
        case MatmulProblem() | AttentionProblem():
            raise AssertionError("products of activations have no weight")


def copy_cycles(problem: Problem, isa: Isa) -> float:
    """The padded copy of the input of a convolution that does not read each pixel at its own place."""
    if isinstance(problem, ConvProblem) and not problem.pointwise:
        strided = any(axis.stride > 1 for axis in problem.axes)
        return (_PHASES_CYCLES if strided else _COPY_CYCLES) * input_elements(problem) / isa.lanes()
    return 0.0


def apart_cycles(problem: Problem, isa: Isa) -> float:
    """The copy that moves channels to different sets of the cache."""
    if isinstance(problem, ConvProblem) and problem.pointwise and problem.pixels % CLASH == 0:
        return TURN_CYCLES[isa.vector_bytes] * input_elements(problem) / isa.lanes()
    return 0.0


def streaming_cycles(size: int, machine: Machine) -> float:
    """Cycles to read a packed weight once per tile of x, which takes half of a shared L3: nearly none from there."""
    hidden = 4.0 if size <= machine.l3_bytes // 2 else 1.0
    return size / (hidden * bandwidth(2 * size, machine)) if size > machine.l2_bytes else 0.0


def bandwidth(size: float, machine: Machine) -> float:
    """Bytes per cycle at which `size` bytes can be read again and again."""
    if size <= machine.l1_bytes:
        return machine.l1_bytes_per_cycle
    if size <= machine.l2_bytes:
        return machine.l2_bytes_per_cycle
    return machine.far_bytes_per_cycle if size <= machine.l3_bytes else machine.memory_bytes_per_cycle


def input_elements(problem: Problem) -> int:
    """Elements of x, or of all operands that are multiplied."""
    match problem:
        case ConvProblem():
            return problem.batch * problem.channels * math.prod(axis.size for axis in problem.axes)
        case LinearProblem():
            return problem.tokens * problem.inputs
        case MatmulProblem():
            return problem.batch * (problem.rows + problem.columns) * problem.inner
        case AttentionProblem():
            return sum(problem.elements(operand) for operand in ("q", "k", "v"))
