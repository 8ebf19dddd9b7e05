#map = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d5, d6, d7)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>
module {
  func.func @main(%arg0: memref<2x16x4x8xf32>, %arg1: memref<2x4x8x8xf32>, %arg2: memref<2x16x4x8xf32>) {
    %alloc = memref.alloc() : memref<2x4x16x8xf32>
    %reinterpret_cast = memref.reinterpret_cast %arg0 to offset: [0], sizes: [2, 4, 16, 8], strides: [512, 8, 32, 1] : memref<2x16x4x8xf32> to memref<2x4x16x8xf32, strided<[512, 8, 32, 1]>>
    %reinterpret_cast_0 = memref.reinterpret_cast %arg2 to offset: [0], sizes: [2, 4, 16, 8], strides: [512, 8, 32, 1] : memref<2x16x4x8xf32> to memref<2x4x16x8xf32, strided<[512, 8, 32, 1]>>
    %alloc_1 = memref.alloc() : memref<2x4x16x8xf32>
    linalg.generic {indexing_maps = [#map, #map1, #map2], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%reinterpret_cast, %arg1 : memref<2x4x16x8xf32, strided<[512, 8, 32, 1]>>, memref<2x4x8x8xf32>) outs(%reinterpret_cast_0 : memref<2x4x16x8xf32, strided<[512, 8, 32, 1]>>) {
    ^bb0(%in: f32, %in_2: f32, %out: f32):
      %0 = "sparsec.matmul"(%in, %in_2) : (f32, f32) -> f32
      linalg.yield %0 : f32
    }
    return
  }
}
