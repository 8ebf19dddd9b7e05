func.func @main(%x: memref<2x3x8x8xf32>) {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> memref<16x3x7x7xf32>
  %0 = memref.alloc() : memref<2x8x8x3xf32>
  %a = memref.reinterpret_cast %0 to offset: [0], sizes: [2, 3, 8, 8], strides: [192, 1, 24, 3] : memref<2x8x8x3xf32> to memref<2x3x8x8xf32, strided<[192, 1, 24, 3]>>
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d3, d1, d2)>, affine_map<(d0, d1, d2, d3) -> (d0, d3, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%x : memref<2x3x8x8xf32>) outs(%a : memref<2x3x8x8xf32, strided<[192, 1, 24, 3]>>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  }
  %1 = memref.alloc() : memref<2x4x4x16xf32>
  %y = memref.reinterpret_cast %1 to offset: [0], sizes: [2, 16, 4, 4], strides: [256, 1, 64, 16] : memref<2x4x4x16xf32> to memref<2x16x4x4xf32, strided<[256, 1, 64, 16]>>
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d5, d6, d7)>, affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>, affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec", layer = "conv"} ins(%a, %w : memref<2x3x8x8xf32, strided<[192, 1, 24, 3]>>, memref<16x3x7x7xf32>) outs(%y : memref<2x16x4x4xf32, strided<[256, 1, 64, 16]>>) {
  ^bb0(%xe: f32, %we: f32, %out: f32):
    %2 = "sparsec.conv"(%xe, %we) {after = array<i64: 3, 3>, before = array<i64: 3, 3>, dilations = array<i64: 1, 1>, groups = 1 : i64, strides = array<i64: 2, 2>} : (f32, f32) -> f32
    linalg.yield %2 : f32
  }
  return
}
