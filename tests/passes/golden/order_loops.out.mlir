#map = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#map1 = affine_map<(d0, d1, d2) -> (d0, d2)>
#map2 = affine_map<(d0, d1, d2) -> (d0, d1, 0)>
module {
  func.func @main(%arg0: memref<4x8x16xf32>, %arg1: memref<4x16xf32>, %arg2: memref<4x8x1xf32>) {
    linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "reduction", "parallel"]} ins(%arg0 : memref<4x8x16xf32>) outs(%arg1 : memref<4x16xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = arith.addf %in, %out fastmath<reassoc> : f32
      linalg.yield %0 : f32
    }
    linalg.generic {indexing_maps = [#map, #map2], iterator_types = ["parallel", "parallel", "reduction"]} ins(%arg0 : memref<4x8x16xf32>) outs(%arg2 : memref<4x8x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = arith.maximumf %in, %out fastmath<nsz> : f32
      linalg.yield %0 : f32
    }
    return
  }
}
