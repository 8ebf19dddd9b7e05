#map = affine_map<(d0) -> (d0)>
#map1 = affine_map<(d0, d1) -> (d0, d1)>
#map2 = affine_map<(d0, d1) -> (d0)>
module {
  func.func @main(%arg0: tensor<8x2000xf32>) -> tensor<8xf32> {
    %cst = arith.constant 0.000000e+00 : f32
    %0 = tensor.empty() : tensor<8xf32>
    %1 = linalg.fill ins(%cst : f32) outs(%0 : tensor<8xf32>) -> tensor<8xf32>
    %2 = tensor.empty() : tensor<8xf64>
    %3 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%1 : tensor<8xf32>) outs(%2 : tensor<8xf64>) {
    ^bb0(%in: f32, %out: f64):
      %7 = arith.extf %in : f32 to f64
      linalg.yield %7 : f64
    } -> tensor<8xf64>
    %4 = linalg.generic {indexing_maps = [#map1, #map2], iterator_types = ["parallel", "reduction"]} ins(%arg0 : tensor<8x2000xf32>) outs(%3 : tensor<8xf64>) {
    ^bb0(%in: f32, %out: f64):
      %7 = arith.mulf %in, %in : f32
      %8 = arith.extf %7 : f32 to f64
      %9 = arith.addf %8, %out : f64
      linalg.yield %9 : f64
    } -> tensor<8xf64>
    %5 = tensor.empty() : tensor<8xf32>
    %6 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%4 : tensor<8xf64>) outs(%5 : tensor<8xf32>) {
    ^bb0(%in: f64, %out: f32):
      %7 = arith.truncf %in : f64 to f32
      linalg.yield %7 : f32
    } -> tensor<8xf32>
    return %6 : tensor<8xf32>
  }
}
