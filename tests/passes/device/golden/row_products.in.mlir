func.func @main(%q: memref<8x1x16xf16>, %k: memref<8x32x16xf16>, %y: memref<8x1x32xf32>) {
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8) -> (d3, d4, d5)>, affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8) -> (d6, d7, d8)>, affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%q, %k : memref<8x1x16xf16>, memref<8x32x16xf16>) outs(%y : memref<8x1x32xf32>) {
  ^bb0(%pe: f16, %qe: f16, %out: f32):
    %0 = "sparsec.matmul"(%pe, %qe) {transposed} : (f16, f16) -> f32
    linalg.yield %0 : f32
  }
  return
}
