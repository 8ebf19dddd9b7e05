"""Cycles of linear layers on the tile registers of AMX."""

from __future__ import annotations

import math

from sparsec.cost.linear import BYTE_ROW_CYCLES, moved_cycles, token_vectors
from sparsec.cost.machine import Machine
from sparsec.cost.steps import PACK_CYCLES, bandwidth, input_elements, streaming_cycles, words_for
from sparsec.formats.facts import Facts
from sparsec.kernels import tile_registers
from sparsec.kernels.byte_rows import GROUP as GATHERED
from sparsec.kernels.isa import Isa
from sparsec.kernels.problem import LinearProblem, Problem

# Per product of two tiles of AMX: 16 by the manual, but each needs an operand from L1 or L2.
_TILE_PRODUCT_CYCLES = 26.0
_TILE_LOAD_CYCLES = 100.0  # per tile of weights, the first time: no hardware looks ahead of loads of tiles
_NEAR_PRODUCT_CYCLES = 28.0  # the same with operands from L1
_TILE_STORE_CYCLES = 16 * 6.0  # per tile of sums
_TILE_EXPAND_CYCLES = 40.0  # per tile of weights that is made of a bitmap
_TILE_EXPANDED_CYCLES = 44.0  # per product with one: few of them wait for its stores
_TILE_WORD_CYCLES = 11.5  # per word of any four columns that is made for four tiles
_TILE_ROW_CYCLES = 120.0  # to begin and end a row of tiles


def amx_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Products of whole tiles, or the bytes of the weight; each tile of sums is stored, loaded and stored again."""
    assert isinstance(problem, LinearProblem)
    words, side = words_for(problem, isa), tile_registers.SIDE
    rows, columns = math.ceil(problem.tokens / side), math.ceil(problem.outputs / side)
    steps = math.ceil(words.count(problem.inputs) / side)
    weight_bytes = 4 * columns * steps * tile_registers.TILE
    packed = 0.0 if words.direct(problem.inputs) else PACK_CYCLES * input_elements(problem) / 64
    products = (
        rows * columns * (steps * _TILE_PRODUCT_CYCLES + _TILE_STORE_CYCLES) + columns * steps * _TILE_LOAD_CYCLES
    )
    return max(products, weight_bytes / bandwidth(weight_bytes, machine)) + packed


def amx_bitmap_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Each tile of weights is made once, or its bytes are waited for; products follow."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    words, side = words_for(problem, isa), tile_registers.SIDE
    rows, columns = math.ceil(problem.tokens / side), math.ceil(problem.outputs / side)
    tiles = columns * math.ceil(words.count(problem.inputs) / side)
    size = 4 // words.group * facts.nonzeros + side * side * words.group // 8 * tiles
    packed = 0.0 if words.direct(problem.inputs) else PACK_CYCLES * input_elements(problem) / 64
    products = tiles * (_TILE_EXPAND_CYCLES + _TILE_EXPANDED_CYCLES * rows) + rows * columns * _TILE_STORE_CYCLES
    return max(products, size / bandwidth(size, machine)) + packed


def amx_gathered_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Columns that any of 16 outputs has: words made of them, and products of tiles, both filled up by half a one."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    vectors, tiles = token_vectors(problem, isa, GATHERED)
    side = tile_registers.SIDE
    rows, blocks = math.ceil(facts.rows / side), dict(facts.row_blocks)[side]
    words = blocks / GATHERED + rows / 2
    products = _NEAR_PRODUCT_CYCLES * vectors * (words / side + rows / 2)
    made = _TILE_WORD_CYCLES * words + _TILE_ROW_CYCLES * rows + streaming_cycles((side + 4) * blocks, machine)
    made += BYTE_ROW_CYCLES * math.ceil(problem.inputs / GATHERED)
    return products + tiles * made + moved_cycles(problem, isa)
