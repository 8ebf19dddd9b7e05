func.func @main() {
  %0 = memref.alloc() : memref<2x8x8x16xf32>
  %x = memref.reinterpret_cast %0 to offset: [0], sizes: [2, 16, 8, 8], strides: [1024, 1, 128, 16] : memref<2x8x8x16xf32> to memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>
  %1 = memref.alloc() : memref<2x8x8x4xf32>
  %r = memref.reinterpret_cast %1 to offset: [0], sizes: [2, 4, 8, 8], strides: [256, 1, 32, 4] : memref<2x8x8x4xf32> to memref<2x4x8x8xf32, strided<[256, 1, 32, 4]>>
  %2 = memref.alloc() : memref<2x8x8x4xf32>
  %y = memref.reinterpret_cast %2 to offset: [0], sizes: [2, 4, 8, 8], strides: [256, 1, 32, 4] : memref<2x8x8x4xf32> to memref<2x4x8x8xf32, strided<[256, 1, 32, 4]>>
  %w = "sparsec.weight"() {sym_name = "w"} : () -> memref<4x16x1x1xf32>
  %b = "sparsec.weight"() {sym_name = "b"} : () -> memref<1x4x1x1xf32>
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d5, d6, d7)>, affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>, affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (0, d1, 0, 0)>, affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec", layer = "conv"} ins(%x, %w, %b, %r : memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>, memref<4x16x1x1xf32>, memref<1x4x1x1xf32>, memref<2x4x8x8xf32, strided<[256, 1, 32, 4]>>) outs(%y : memref<2x4x8x8xf32, strided<[256, 1, 32, 4]>>) {
  ^bb0(%xe: f32, %we: f32, %be: f32, %re: f32, %out: f32):
    %3 = "sparsec.conv"(%xe, %we) {after = array<i64: 0, 0>, before = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64, strides = array<i64: 1, 1>} : (f32, f32) -> f32
    %4 = arith.addf %3, %be : f32
    %5 = arith.addf %4, %re : f32
    linalg.yield %5 : f32
  }
  return
}
