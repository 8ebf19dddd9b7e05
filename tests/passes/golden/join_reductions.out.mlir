#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0, d1) -> (d0, d1)>
#map2 = affine_map<(d0, d1) -> (d0)>
module {
  func.func @main(%arg0: memref<128x768xf32>, %arg1: memref<128xf32>, %arg2: memref<128xf32>, %arg3: memref<128xf32>) {
    %cst = arith.constant 0x7F800000 : f32
    %cst_0 = arith.constant 0xFF800000 : f32
    linalg.generic {indexing_maps = [#map], iterator_types = ["parallel"]} outs(%arg1 : memref<128xf32>) {
    ^bb0(%out: f32):
      linalg.yield %cst : f32
    }
    linalg.generic {indexing_maps = [#map], iterator_types = ["parallel"]} outs(%arg2 : memref<128xf32>) {
    ^bb0(%out: f32):
      linalg.yield %cst_0 : f32
    }
    linalg.generic {indexing_maps = [#map1, #map2, #map2], iterator_types = ["parallel", "reduction"]} ins(%arg0 : memref<128x768xf32>) outs(%arg1, %arg2 : memref<128xf32>, memref<128xf32>) {
    ^bb0(%in: f32, %out: f32, %out_1: f32):
      %0 = arith.minimumf %in, %out fastmath<nsz> : f32
      %1 = arith.maximumf %in, %out_1 fastmath<nsz> : f32
      linalg.yield %0, %1 : f32, f32
    }
    linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%arg2 : memref<128xf32>) outs(%arg3 : memref<128xf32>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    }
    linalg.generic {indexing_maps = [#map1, #map2], iterator_types = ["parallel", "reduction"]} ins(%arg0 : memref<128x768xf32>) outs(%arg3 : memref<128xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = arith.addf %in, %out fastmath<reassoc> : f32
      linalg.yield %0 : f32
    }
    return
  }
}
