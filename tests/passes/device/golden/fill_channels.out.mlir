#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d5, d6, d7)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>
module {
  func.func @main(%arg0: memref<2x3x8x8xf32>) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> memref<16x3x3x3xf32>
    %alloc = memref.alloc() : memref<2x8x8x8xf32>
    %alloc_0 = memref.alloc() : memref<2x8x8x3xf32>
    %reinterpret_cast = memref.reinterpret_cast %alloc_0 to offset: [0], sizes: [2, 3, 8, 8], strides: [192, 1, 24, 3] : memref<2x8x8x3xf32> to memref<2x3x8x8xf32, strided<[192, 1, 24, 3]>>
    linalg.generic {indexing_maps = [#map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} outs(%alloc : memref<2x8x8x8xf32>) {
    ^bb0(%out: f32):
      %cst = arith.constant 0.000000e+00 : f32
      linalg.yield %cst : f32
    }
    %reinterpret_cast_1 = memref.reinterpret_cast %alloc to offset: [0], sizes: [2, 3, 8, 8], strides: [512, 1, 64, 8] : memref<2x8x8x8xf32> to memref<2x3x8x8xf32, strided<[512, 1, 64, 8]>>
    linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%arg0 : memref<2x3x8x8xf32>) outs(%reinterpret_cast_1 : memref<2x3x8x8xf32, strided<[512, 1, 64, 8]>>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    }
    %alloc_2 = memref.alloc() : memref<2x8x8x16xf32>
    %reinterpret_cast_3 = memref.reinterpret_cast %alloc_2 to offset: [0], sizes: [2, 16, 8, 8], strides: [1024, 1, 128, 16] : memref<2x8x8x16xf32> to memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>
    %1 = "sparsec.weight"() {sym_name = "w/filled"} : () -> memref<16x8x3x3xf32>
    %reinterpret_cast_4 = memref.reinterpret_cast %alloc to offset: [0], sizes: [2, 8, 8, 8], strides: [512, 1, 64, 8] : memref<2x8x8x8xf32> to memref<2x8x8x8xf32, strided<[512, 1, 64, 8]>>
    linalg.generic {indexing_maps = [#map1, #map2, #map3], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%reinterpret_cast_4, %1 : memref<2x8x8x8xf32, strided<[512, 1, 64, 8]>>, memref<16x8x3x3xf32>) outs(%reinterpret_cast_3 : memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>) attrs =  {layer = "conv"} {
    ^bb0(%in: f32, %in_5: f32, %out: f32):
      %2 = "sparsec.conv"(%in, %in_5) {after = array<i64: 1, 1>, before = array<i64: 1, 1>, dilations = array<i64: 1, 1>, groups = 1 : i64, strides = array<i64: 1, 1>} : (f32, f32) -> f32
      linalg.yield %2 : f32
    }
    return
  }
}
