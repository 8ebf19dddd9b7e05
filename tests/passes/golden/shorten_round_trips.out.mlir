#map = affine_map<(d0, d1) -> (d0, d1)>
module {
  func.func @main(%arg0: tensor<2x8xf32>) -> tensor<2x8xf32> {
    %cst = arith.constant 0.000000e+00 : f32
    %cst_0 = arith.constant 2.550000e+02 : f32
    %cst_1 = arith.constant 3.000000e+00 : f32
    %cst_2 = arith.constant 1.250000e-01 : f32
    %0 = tensor.empty() : tensor<2x8xf32>
    %1 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<2x8xf32>) outs(%0 : tensor<2x8xf32>) {
    ^bb0(%in: f32, %out: f32):
      %2 = math.roundeven %in : f32
      %cst_3 = arith.constant -3.000000e+00 : f32
      %3 = arith.cmpf ult, %2, %cst_3 : f32
      %4 = arith.select %3, %cst_3, %2 : f32
      %cst_4 = arith.constant 2.520000e+02 : f32
      %5 = arith.cmpf ugt, %4, %cst_4 : f32
      %6 = arith.select %5, %cst_4, %4 : f32
      %cst_5 = arith.constant 0.000000e+00 : f32
      %7 = arith.addf %6, %cst_5 : f32
      %8 = arith.mulf %7, %cst_2 : f32
      linalg.yield %8 : f32
    } -> tensor<2x8xf32>
    return %1 : tensor<2x8xf32>
  }
}
