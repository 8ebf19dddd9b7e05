#map = affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d1)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>
#map4 = affine_map<(d0, d1) -> (d0, d1)>
module {
  func.func @main(%arg0: memref<4x8xf16>, %arg1: memref<2xf32>, %arg2: memref<4x2xf32>) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> memref<2x8xf32>
    %alloc = memref.alloc() : memref<4x2xf16>
    linalg.generic {indexing_maps = [#map, #map1, #map2, #map3], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%arg0, %0, %arg1 : memref<4x8xf16>, memref<2x8xf32>, memref<2xf32>) outs(%alloc : memref<4x2xf16>) {
    ^bb0(%in: f16, %in_0: f32, %in_1: f32, %out: f16):
      %1 = "sparsec.linear"(%in, %in_0) : (f16, f32) -> f32
      %2 = arith.addf %1, %in_1 : f32
      %3 = arith.truncf %2 : f32 to f16
      linalg.yield %3 : f16
    }
    linalg.generic {indexing_maps = [#map4, #map4], iterator_types = ["parallel", "parallel"]} ins(%alloc : memref<4x2xf16>) outs(%arg2 : memref<4x2xf32>) {
    ^bb0(%in: f16, %out: f32):
      %1 = arith.extf %in : f16 to f32
      %2 = math.tanh %1 : f32
      linalg.yield %2 : f32
    }
    return
  }
}
