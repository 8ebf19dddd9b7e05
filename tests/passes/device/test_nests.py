"""Loop nests as rows and columns."""

from __future__ import annotations

import pytest
from torch_mlir import ir

from sparsec.ir.context import make_context
from sparsec.ir.module import main_block
from sparsec.passes.device.nests import Loop, Nest, merged, nest_of
from sparsec.passes.device.threads import deal_elements, deal_rows


def _nest(types: tuple[str, str], maps: tuple[str, str], kinds: str, body: str) -> Nest | None:
    listed = ", ".join(f"affine_map<{each}>" for each in maps)
    text = f"""
    func.func @main(%x: {types[0]}, %y: {types[1]}) {{
      linalg.generic {{indexing_maps = [{listed}], iterator_types = [{kinds}]}} ins(%x : {types[0]}) outs(%y : {types[1]}) {{
      ^bb0(%in: f32, %out: f32):
        {body}
      }}
      return
    }}"""
    module = ir.Module.parse(text, make_context())
    _MODULES.append(module)
    return nest_of(main_block(module).operations[0].operation)


_MODULES: list[ir.Module] = []  # whose ops nests look at
_MATRIX = "(a, b) -> (a, b)"
_P, _R = '"parallel"', '"reduction"'
_YIELD = "linalg.yield %in : f32"
_ADD = "%0 = arith.addf %in, %out : f32 linalg.yield %0 : f32"


def test_loops_that_run_on_are_one() -> None:
    assert merged([Loop(2, (12, 0)), Loop(3, (4, 0)), Loop(4, (1, 0))]) == [Loop(24, (1, 0))]
    assert merged([Loop(2, (12, 4)), Loop(3, (4, 0))]) == [Loop(2, (12, 4)), Loop(3, (4, 0))]


def test_a_copy_can_be_any_number_of_rows() -> None:
    nest = _nest(("memref<6x8xf32>", "memref<6x8xf32>"), (_MATRIX, _MATRIX), f"{_P}, {_P}", _YIELD)
    assert nest is not None
    assert nest.shapes == {(1, 48), (6, 8)}


def test_a_transposition_has_columns_of_one_loop() -> None:
    nest = _nest(("memref<8x6xf32>", "memref<6x8xf32>"), ("(a, b) -> (b, a)", _MATRIX), f"{_P}, {_P}", _YIELD)
    assert nest is not None
    assert nest.shapes == {(6, 8)}
    walks = nest.walks(6, 8)
    assert walks is not None
    assert [walk.column for walk in walks] == [6, 1]
    assert deal_elements(6, 8, walks).lanes == 1


def test_a_sum_has_its_terms_as_columns() -> None:
    nest = _nest(("memref<6x8xf32>", "memref<6xf32>"), (_MATRIX, "(a, b) -> (a)"), f"{_P}, {_R}", _ADD)
    assert nest is not None
    assert nest.shapes == {(6, 8)}
    assert nest.walks(6, 4) is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("%0 = arith.subf %out, %in : f32 linalg.yield %0 : f32", "differences depend on the order"),
        ("%0 = arith.addf %out, %out : f32 linalg.yield %0 : f32", "the sum is used twice"),
    ],
)
def test_what_cannot_be_added_up_in_parts(body: str, why: str) -> None:
    assert _nest(("memref<6x8xf32>", "memref<6xf32>"), (_MATRIX, "(a, b) -> (a)"), f"{_P}, {_R}", body) is None, why


def test_sums_along_columns_in_memory_stay_loops() -> None:
    """Threads of their own read neighbours there."""
    found = _nest(("memref<8x6xf32>", "memref<6xf32>"), ("(a, b) -> (b, a)", "(a, b) -> (a)"), f"{_P}, {_R}", _ADD)
    assert found is None


@pytest.mark.parametrize(
    ("columns", "threads", "chunks"),
    [(8, 2, 1), (64, 8, 1), (96, 16, 1), (768, 32, 3), (1024, 32, 4), (1032, 64, 3), (32768, 1024, 4)],
)
def test_rows_take_warps_or_blocks(columns: int, threads: int, chunks: int) -> None:
    kind = f"memref<6x{columns}xf32>"
    nest = _nest((kind, "memref<6xf32>"), (_MATRIX, "(a, b) -> (a)"), f"{_P}, {_R}", _ADD)
    walks = nest.walks(6, columns) if nest is not None else None
    assert walks is not None
    dealt = deal_rows(6, columns, walks)
    assert (dealt.lanes, dealt.threads, dealt.chunks) == (8, threads, chunks)
    assert dealt.grid * dealt.together >= 6


@pytest.mark.parametrize(("columns", "lanes"), [(131, 1), (130, 2), (132, 4), (136, 8)])
def test_vectors_begin_at_their_multiples(columns: int, lanes: int) -> None:
    kind = f"memref<6x{columns}xf32>"
    nest = _nest((kind, "memref<6xf32>"), (_MATRIX, "(a, b) -> (a)"), f"{_P}, {_R}", _ADD)
    walks = nest.walks(6, columns) if nest is not None else None
    assert walks is not None
    assert deal_rows(6, columns, walks).lanes == lanes


def test_what_32_bits_cannot_count_stays_loops() -> None:
    kind = "memref<32768x65536xf32>"
    assert _nest((kind, kind), (_MATRIX, _MATRIX), f"{_P}, {_P}", _YIELD) is None
