func.func @main(%x: memref<4x8xf16>, %b: memref<2xf32>, %y: memref<4x2xf32>) {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> memref<2x8xf32>
  %a = memref.alloc() : memref<4x2xf32>
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d1)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%x, %w, %b : memref<4x8xf16>, memref<2x8xf32>, memref<2xf32>) outs(%a : memref<4x2xf32>) {
  ^bb0(%xe: f16, %we: f32, %be: f32, %out: f32):
    %0 = "sparsec.linear"(%xe, %we) : (f16, f32) -> f32
    %1 = arith.addf %0, %be : f32
    linalg.yield %1 : f32
  }
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%a : memref<4x2xf32>) outs(%y : memref<4x2xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = math.tanh %in : f32
    linalg.yield %0 : f32
  }
  return
}
