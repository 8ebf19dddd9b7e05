#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d1)>
#map4 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>
module {
  func.func @main(%arg0: memref<4x8xf32>, %arg1: memref<2xf32>, %arg2: memref<4x2xf32>) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> memref<2x8xf32>
    %alloc = memref.alloc() : memref<4x8xf16>
    linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : memref<4x8xf32>) outs(%alloc : memref<4x8xf16>) {
    ^bb0(%in: f32, %out: f16):
      %1 = arith.truncf %in : f32 to f16
      linalg.yield %1 : f16
    }
    %alloc_0 = memref.alloc() : memref<4x2xf32>
    linalg.generic {indexing_maps = [#map1, #map2, #map3, #map4], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%alloc, %0, %arg1 : memref<4x8xf16>, memref<2x8xf32>, memref<2xf32>) outs(%alloc_0 : memref<4x2xf32>) {
    ^bb0(%in: f16, %in_1: f32, %in_2: f32, %out: f32):
      %1 = "sparsec.linear"(%in, %in_1) : (f16, f32) -> f32
      %2 = arith.addf %1, %in_2 : f32
      linalg.yield %2 : f32
    }
    linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%alloc_0 : memref<4x2xf32>) outs(%arg2 : memref<4x2xf32>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    }
    return
  }
}
