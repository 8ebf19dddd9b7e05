#map = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9) -> (d4, d5, d6, d7)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9) -> (d8, d9)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9) -> (0, d3, 0, 0)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9) -> (d0, d1, d2, d3)>
module {
  func.func @main() {
    %alloc = memref.alloc() : memref<2x8x8x16xf32>
    %reinterpret_cast = memref.reinterpret_cast %alloc to offset: [0], sizes: [2, 16, 8, 8], strides: [1024, 1, 128, 16] : memref<2x8x8x16xf32> to memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>
    %alloc_0 = memref.alloc() : memref<2x8x8x4xf32>
    %reinterpret_cast_1 = memref.reinterpret_cast %alloc_0 to offset: [0], sizes: [2, 4, 8, 8], strides: [256, 1, 32, 4] : memref<2x8x8x4xf32> to memref<2x4x8x8xf32, strided<[256, 1, 32, 4]>>
    %alloc_2 = memref.alloc() : memref<2x8x8x4xf32>
    %reinterpret_cast_3 = memref.reinterpret_cast %alloc_2 to offset: [0], sizes: [2, 4, 8, 8], strides: [256, 1, 32, 4] : memref<2x8x8x4xf32> to memref<2x4x8x8xf32, strided<[256, 1, 32, 4]>>
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> memref<4x16x1x1xf32>
    %1 = "sparsec.weight"() {sym_name = "b"} : () -> memref<1x4x1x1xf32>
    %reinterpret_cast_4 = memref.reinterpret_cast %alloc to offset: [0], sizes: [2, 8, 8, 16], strides: [1024, 128, 16, 1] : memref<2x8x8x16xf32> to memref<2x8x8x16xf32, strided<[1024, 128, 16, 1]>>
    %reinterpret_cast_5 = memref.reinterpret_cast %alloc_0 to offset: [0], sizes: [2, 8, 8, 4], strides: [256, 32, 4, 1] : memref<2x8x8x4xf32> to memref<2x8x8x4xf32, strided<[256, 32, 4, 1]>>
    %reinterpret_cast_6 = memref.reinterpret_cast %alloc_2 to offset: [0], sizes: [2, 8, 8, 4], strides: [256, 32, 4, 1] : memref<2x8x8x4xf32> to memref<2x8x8x4xf32, strided<[256, 32, 4, 1]>>
    %2 = "sparsec.weight"() {sym_name = "w/matrix"} : () -> memref<4x16xf32>
    linalg.generic {indexing_maps = [#map, #map1, #map2, #map3, #map3], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%reinterpret_cast_4, %2, %1, %reinterpret_cast_5 : memref<2x8x8x16xf32, strided<[1024, 128, 16, 1]>>, memref<4x16xf32>, memref<1x4x1x1xf32>, memref<2x8x8x4xf32, strided<[256, 32, 4, 1]>>) outs(%reinterpret_cast_6 : memref<2x8x8x4xf32, strided<[256, 32, 4, 1]>>) attrs =  {layer = "conv"} {
    ^bb0(%in: f32, %in_7: f32, %in_8: f32, %in_9: f32, %out: f32):
      %3 = "sparsec.linear"(%in, %in_7) {image = array<i64: 2, 16, 8, 8>} : (f32, f32) -> f32
      %4 = arith.addf %3, %in_8 : f32
      %5 = arith.addf %4, %in_9 : f32
      linalg.yield %5 : f32
    }
    return
  }
}
