#map = affine_map<(d0, d1) -> (d0, d1)>
module {
  func.func @main(%arg0: tensor<2x8xf32>) -> tensor<2x8xi8> {
    %cst = arith.constant 0.000000e+00 : f32
    %cst_0 = arith.constant 2.550000e+02 : f32
    %cst_1 = arith.constant 3.000000e+00 : f32
    %cst_2 = arith.constant 5.000000e-01 : f32
    %cst_3 = arith.constant 2.000000e+00 : f32
    %cst_4 = arith.constant 6.000000e+02 : f32
    %0 = tensor.empty() : tensor<2x8xi8>
    %1 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<2x8xf32>) outs(%0 : tensor<2x8xi8>) {
    ^bb0(%in: f32, %out: i8):
      %2 = arith.cmpf ogt, %in, %cst_4 : f32
      %3 = arith.select %2, %cst_4, %in : f32
      %cst_5 = arith.constant -1.500000e+00 : f32
      %4 = arith.cmpf ult, %in, %cst_5 : f32
      %5 = arith.select %4, %cst_5, %in : f32
      %cst_6 = arith.constant 1.260000e+02 : f32
      %6 = arith.cmpf ugt, %5, %cst_6 : f32
      %7 = arith.select %6, %cst_6, %5 : f32
      %cst_7 = arith.constant 2.000000e+00 : f32
      %8 = arith.mulf %7, %cst_7 : f32
      %9 = math.roundeven %8 : f32
      %10 = arith.fptosi %9 : f32 to i32
      %c3_i32 = arith.constant 3 : i32
      %11 = arith.addi %10, %c3_i32 : i32
      %12 = arith.trunci %11 overflow<nuw> : i32 to i8
      linalg.yield %12 : i8
    } -> tensor<2x8xi8>
    return %1 : tensor<2x8xi8>
  }
}
