#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d0)>
#map2 = affine_map<(d0, d1) -> (d1)>
module {
  func.func @main(%arg0: memref<1280x7x7xf32>, %arg1: memref<1280xf32>, %arg2: memref<1280x7x7xf32>, %arg3: memref<7xf32>) {
    %reinterpret_cast = memref.reinterpret_cast %arg0 to offset: [0], sizes: [1280, 49], strides: [49, 1] : memref<1280x7x7xf32> to memref<1280x49xf32, strided<[49, 1]>>
    linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "reduction"]} ins(%reinterpret_cast : memref<1280x49xf32, strided<[49, 1]>>) outs(%arg1 : memref<1280xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = arith.addf %in, %out : f32
      linalg.yield %0 : f32
    }
    %reinterpret_cast_0 = memref.reinterpret_cast %arg0 to offset: [0], sizes: [8960, 7], strides: [7, 1] : memref<1280x7x7xf32> to memref<8960x7xf32, strided<[7, 1]>>
    %reinterpret_cast_1 = memref.reinterpret_cast %arg2 to offset: [0], sizes: [8960, 7], strides: [7, 1] : memref<1280x7x7xf32> to memref<8960x7xf32, strided<[7, 1]>>
    linalg.generic {indexing_maps = [#map, #map2, #map], iterator_types = ["parallel", "parallel"]} ins(%reinterpret_cast_0, %arg3 : memref<8960x7xf32, strided<[7, 1]>>, memref<7xf32>) outs(%reinterpret_cast_1 : memref<8960x7xf32, strided<[7, 1]>>) {
    ^bb0(%in: f32, %in_2: f32, %out: f32):
      %0 = arith.mulf %in, %in_2 : f32
      linalg.yield %0 : f32
    }
    return
  }
}
