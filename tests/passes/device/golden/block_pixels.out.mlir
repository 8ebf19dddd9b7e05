#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d5, d1 * 2 + d2, d3 * 2 + d4)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d5, d1, d2, d3, d4)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d5, d6, d7)>
#map4 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>
#map5 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>
module {
  func.func @main(%arg0: memref<2x3x8x8xf32>) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> memref<16x3x7x7xf32>
    %alloc = memref.alloc() : memref<2x8x8x3xf32>
    %reinterpret_cast = memref.reinterpret_cast %alloc to offset: [0], sizes: [2, 3, 8, 8], strides: [192, 1, 24, 3] : memref<2x8x8x3xf32> to memref<2x3x8x8xf32, strided<[192, 1, 24, 3]>>
    %alloc_0 = memref.alloc() : memref<2x7x7x16xf32>
    linalg.generic {indexing_maps = [#map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} outs(%alloc_0 : memref<2x7x7x16xf32>) {
    ^bb0(%out: f32):
      %cst = arith.constant 0.000000e+00 : f32
      linalg.yield %cst : f32
    }
    %reinterpret_cast_1 = memref.reinterpret_cast %alloc_0 to offset: [137], sizes: [2, 3, 4, 2, 4, 2], strides: [784, 1, 112, 106, 16, 13] : memref<2x7x7x16xf32> to memref<2x3x4x2x4x2xf32, strided<[784, 1, 112, 106, 16, 13], offset: 137>>
    linalg.generic {indexing_maps = [#map1, #map2], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "parallel"]} ins(%arg0 : memref<2x3x8x8xf32>) outs(%reinterpret_cast_1 : memref<2x3x4x2x4x2xf32, strided<[784, 1, 112, 106, 16, 13], offset: 137>>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    }
    %alloc_2 = memref.alloc() : memref<2x4x4x16xf32>
    %reinterpret_cast_3 = memref.reinterpret_cast %alloc_2 to offset: [0], sizes: [2, 16, 4, 4], strides: [256, 1, 64, 16] : memref<2x4x4x16xf32> to memref<2x16x4x4xf32, strided<[256, 1, 64, 16]>>
    %reinterpret_cast_4 = memref.reinterpret_cast %alloc_0 to offset: [0], sizes: [2, 64, 7, 4], strides: [784, 1, 112, 16] : memref<2x7x7x16xf32> to memref<2x64x7x4xf32, strided<[784, 1, 112, 16]>>
    %1 = "sparsec.weight"() {sym_name = "w/blocks"} : () -> memref<16x64x4x1xf32>
    linalg.generic {indexing_maps = [#map3, #map4, #map5], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%reinterpret_cast_4, %1 : memref<2x64x7x4xf32, strided<[784, 1, 112, 16]>>, memref<16x64x4x1xf32>) outs(%reinterpret_cast_3 : memref<2x16x4x4xf32, strided<[256, 1, 64, 16]>>) attrs =  {layer = "conv"} {
    ^bb0(%in: f32, %in_5: f32, %out: f32):
      %2 = "sparsec.conv"(%in, %in_5) {after = array<i64: 0, 0>, before = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64, strides = array<i64: 1, 1>} : (f32, f32) -> f32
      linalg.yield %2 : f32
    }
    return
  }
}
