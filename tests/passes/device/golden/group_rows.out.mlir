#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0, d1) -> (d0, d1)>
#map2 = affine_map<(d0, d1) -> (d0)>
module {
  func.func @main(%arg0: memref<32x64xf16>, %arg1: memref<32x64xf32>) {
    %cst = arith.constant 0.000000e+00 : f32
    %alloc = memref.alloc() : memref<32xf32>
    linalg.generic {indexing_maps = [#map], iterator_types = ["parallel"]} outs(%alloc : memref<32xf32>) attrs =  {sparsec.kernel = array<i64: 0, 32, 64>} {
    ^bb0(%out: f32):
      linalg.yield %cst : f32
    }
    linalg.generic {indexing_maps = [#map1, #map2], iterator_types = ["parallel", "reduction"]} ins(%arg0 : memref<32x64xf16>) outs(%alloc : memref<32xf32>) attrs =  {sparsec.kernel = array<i64: 0, 32, 64>} {
    ^bb0(%in: f16, %out: f32):
      %0 = arith.extf %in : f16 to f32
      %1 = arith.addf %0, %out : f32
      linalg.yield %1 : f32
    }
    linalg.generic {indexing_maps = [#map1, #map2, #map1], iterator_types = ["parallel", "parallel"]} ins(%arg0, %alloc : memref<32x64xf16>, memref<32xf32>) outs(%arg1 : memref<32x64xf32>) attrs =  {sparsec.kernel = array<i64: 0, 32, 64>} {
    ^bb0(%in: f16, %in_0: f32, %out: f32):
      %0 = arith.extf %in : f16 to f32
      %1 = arith.divf %0, %in_0 : f32
      linalg.yield %1 : f32
    }
    return
  }
}
