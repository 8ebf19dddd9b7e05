"""collapse_loops: pools over whole planes become one loop over each plane."""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.context import make_context
from sparsec.ir.module import find
from sparsec.ir.weights import WeightStore
from sparsec.kernels.isa import AVX2
from sparsec.passes.access import trip_counts
from sparsec.passes.collapse_loops import collapse_loops
from sparsec.passes.unit import Unit

POOL = """
#x = affine_map<(n, c, y, x, v, u) -> (n, c, y + v, x + u)>
#window = affine_map<(n, c, y, x, v, u) -> (v, u)>
#y = affine_map<(n, c, y, x, v, u) -> (n, c, y, x)>
func.func @main(%x: memref<2x40x{size}xf32>, %window: memref<{window}xf32>, %y: memref<2x40x{out}xf32>) {{
  linalg.generic {{indexing_maps = [#x, #window, #y],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]}}
      ins(%x, %window : memref<2x40x{size}xf32>, memref<{window}xf32>) outs(%y : memref<2x40x{out}xf32>) {{
  ^bb0(%in: f32, %unused: f32, %out: f32):
    %sum = arith.addf %out, %in : f32
    linalg.yield %sum : f32
  }}
  return
}}"""


def loops(size: str, window: str, out: str) -> list[int]:
    """Trip counts of a pool of planes of this size, after the pass."""
    module = ir.Module.parse(POOL.format(size=size, window=window, out=out), make_context())
    collapse_loops(Unit(module, WeightStore(), AVX2))
    assert module.operation.verify()
    with module.context:
        (pool,) = find(module, lambda op: op.name == "linalg.generic")
        return trip_counts(pool)


def test_a_window_as_large_as_the_plane_is_one_loop() -> None:
    assert loops("7x5", "7x5", "1x1") == [80, 35]


def test_a_window_as_wide_as_the_plane_keeps_its_rows() -> None:
    assert loops("7x5", "3x5", "5x1")[-2:] == [3, 5]


def test_smaller_windows_stay_as_they_are() -> None:
    assert loops("7x5", "3x3", "5x3") == [2, 40, 5, 3, 3, 3]


def test_a_plane_that_is_wider_than_what_is_read_keeps_its_loops() -> None:
    assert loops("7x6", "7x1", "1x5") == [2, 40, 5, 7, 1]
    assert loops("8x5", "7x5", "1x1") == [2, 40, 1, 7, 5]


def test_rows_of_which_the_number_is_unknown_stay_as_they_are() -> None:
    module = ir.Module.parse(
        """#map = affine_map<(a, b) -> (a, b)>
        func.func @main(%x: memref<?x8xf32>, %y: memref<?x8xf32>) {
          linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]}
              ins(%x : memref<?x8xf32>) outs(%y : memref<?x8xf32>) {
          ^bb0(%in: f32, %out: f32):
            linalg.yield %in : f32
          }
          return
        }""",
        make_context(),
    )
    before = str(module)
    collapse_loops(Unit(module, WeightStore(), AVX2))
    assert str(module) == before
