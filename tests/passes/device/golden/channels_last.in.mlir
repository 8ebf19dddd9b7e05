func.func @main(%x: memref<2x3x8x8xf32>, %y: memref<2x16x8x8xf32>) {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> memref<16x3x1x1xf32>
  %a = memref.alloc() : memref<2x16x8x8xf32>
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d5, d6, d7)>, affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>, affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec", layer = "conv"} ins(%x, %w : memref<2x3x8x8xf32>, memref<16x3x1x1xf32>) outs(%a : memref<2x16x8x8xf32>) {
  ^bb0(%xe: f32, %we: f32, %out: f32):
    %0 = "sparsec.conv"(%xe, %we) {after = array<i64: 0, 0>, before = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64, strides = array<i64: 1, 1>} : (f32, f32) -> f32
    linalg.yield %0 : f32
  }
  %b = memref.alloc() : memref<2x16x8x8xf32>
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%a : memref<2x16x8x8xf32>) outs(%b : memref<2x16x8x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = math.tanh %in : f32
    linalg.yield %0 : f32
  }
  %part = memref.subview %b[0, 8, 0, 0] [2, 8, 8, 8] [1, 1, 1, 1] : memref<2x16x8x8xf32> to memref<2x8x8x8xf32, strided<[1024, 64, 8, 1], offset: 512>>
  %rows = memref.subview %y[0, 8, 0, 0] [2, 8, 8, 8] [1, 1, 1, 1] : memref<2x16x8x8xf32> to memref<2x8x8x8xf32, strided<[1024, 64, 8, 1], offset: 512>>
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%part : memref<2x8x8x8xf32, strided<[1024, 64, 8, 1], offset: 512>>) outs(%rows : memref<2x8x8x8xf32, strided<[1024, 64, 8, 1], offset: 512>>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  }
  return
}
