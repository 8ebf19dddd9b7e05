#map = affine_map<(d0, d1, d2, d3) -> (d0, d3, d1, d2)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d5, d6, d7)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>
#map4 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
module {
  func.func @main(%arg0: memref<2x3x8x8xf32>, %arg1: memref<2x16x8x8xf32>) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> memref<16x3x1x1xf32>
    %alloc = memref.alloc() : memref<2x8x8x16xf32>
    %reinterpret_cast = memref.reinterpret_cast %alloc to offset: [0], sizes: [2, 16, 8, 8], strides: [1024, 1, 128, 16] : memref<2x8x8x16xf32> to memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>
    %reinterpret_cast_0 = memref.reinterpret_cast %alloc to offset: [0], sizes: [2, 16, 8, 8], strides: [1024, 1, 128, 16] : memref<2x8x8x16xf32> to memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>
    %alloc_1 = memref.alloc() : memref<2x8x8x3xf32>
    %reinterpret_cast_2 = memref.reinterpret_cast %alloc_1 to offset: [0], sizes: [2, 3, 8, 8], strides: [192, 1, 24, 3] : memref<2x8x8x3xf32> to memref<2x3x8x8xf32, strided<[192, 1, 24, 3]>>
    %reinterpret_cast_3 = memref.reinterpret_cast %alloc_1 to offset: [0], sizes: [2, 3, 8, 8], strides: [192, 1, 24, 3] : memref<2x8x8x3xf32> to memref<2x3x8x8xf32, strided<[192, 1, 24, 3]>>
    linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%arg0 : memref<2x3x8x8xf32>) outs(%reinterpret_cast_2 : memref<2x3x8x8xf32, strided<[192, 1, 24, 3]>>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    }
    linalg.generic {indexing_maps = [#map1, #map2, #map3], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%reinterpret_cast_3, %0 : memref<2x3x8x8xf32, strided<[192, 1, 24, 3]>>, memref<16x3x1x1xf32>) outs(%reinterpret_cast_0 : memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>) attrs =  {layer = "conv"} {
    ^bb0(%in: f32, %in_7: f32, %out: f32):
      %1 = "sparsec.conv"(%in, %in_7) {after = array<i64: 0, 0>, before = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64, strides = array<i64: 1, 1>} : (f32, f32) -> f32
      linalg.yield %1 : f32
    }
    %alloc_4 = memref.alloc() : memref<2x8x8x16xf32>
    %reinterpret_cast_5 = memref.reinterpret_cast %alloc_4 to offset: [8], sizes: [2, 8, 8, 8], strides: [1024, 1, 128, 16] : memref<2x8x8x16xf32> to memref<2x8x8x8xf32, strided<[1024, 1, 128, 16], offset: 8>>
    %reinterpret_cast_6 = memref.reinterpret_cast %alloc_4 to offset: [0], sizes: [2, 16, 8, 8], strides: [1024, 1, 128, 16] : memref<2x8x8x16xf32> to memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>
    linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%reinterpret_cast : memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>) outs(%reinterpret_cast_6 : memref<2x16x8x8xf32, strided<[1024, 1, 128, 16]>>) {
    ^bb0(%in: f32, %out: f32):
      %1 = math.tanh %in : f32
      linalg.yield %1 : f32
    }
    %subview = memref.subview %arg1[0, 8, 0, 0] [2, 8, 8, 8] [1, 1, 1, 1] : memref<2x16x8x8xf32> to memref<2x8x8x8xf32, strided<[1024, 64, 8, 1], offset: 512>>
    linalg.generic {indexing_maps = [#map4, #map4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%reinterpret_cast_5 : memref<2x8x8x8xf32, strided<[1024, 1, 128, 16], offset: 8>>) outs(%subview : memref<2x8x8x8xf32, strided<[1024, 64, 8, 1], offset: 512>>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    }
    return
  }
}
