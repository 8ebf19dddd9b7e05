#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d0)>
#map2 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#map3 = affine_map<(d0, d1, d2) -> (d2)>
module {
  func.func @main(%arg0: memref<1280x7x7xf32>, %arg1: memref<1280xf32>, %arg2: memref<1280x7x7xf32>, %arg3: memref<7xf32>) {
    %collapse_shape = memref.collapse_shape %arg0 [[0], [1, 2]] : memref<1280x7x7xf32> into memref<1280x49xf32>
    linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "reduction"]} ins(%collapse_shape : memref<1280x49xf32>) outs(%arg1 : memref<1280xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = arith.addf %in, %out : f32
      linalg.yield %0 : f32
    }
    linalg.generic {indexing_maps = [#map2, #map3, #map2], iterator_types = ["parallel", "parallel", "parallel"]} ins(%arg0, %arg3 : memref<1280x7x7xf32>, memref<7xf32>) outs(%arg2 : memref<1280x7x7xf32>) {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %0 = arith.mulf %in, %in_0 : f32
      linalg.yield %0 : f32
    }
    return
  }
}
