#map = affine_map<(d0, d1) -> (d0, d1)>
module {
  func.func @main(%arg0: tensor<2x8xf32>) -> tensor<2x8xi8> {
    %cst = arith.constant 0.000000e+00 : f32
    %cst_0 = arith.constant 2.550000e+02 : f32
    %cst_1 = arith.constant 1.200000e+02 : f32
    %cst_2 = arith.constant 3.125000e-02 : f32
    %cst_3 = arith.constant 1.562500e-02 : f32
    %0 = tensor.empty() : tensor<2x8xi8>
    %1 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<2x8xf32>) outs(%0 : tensor<2x8xi8>) {
    ^bb0(%in: f32, %out: i8):
      %2 = math.roundeven %in : f32
      %cst_4 = arith.constant 2.000000e+00 : f32
      %cst_5 = arith.constant 0.000000e+00 : f32
      %3 = math.fma %2, %cst_4, %cst_5 : f32
      %4 = math.roundeven %3 : f32
      %cst_6 = arith.constant 0.000000e+00 : f32
      %5 = arith.cmpf ult, %4, %cst_6 : f32
      %6 = arith.select %5, %cst_6, %4 : f32
      %cst_7 = arith.constant 2.550000e+02 : f32
      %7 = arith.cmpf ugt, %6, %cst_7 : f32
      %8 = arith.select %7, %cst_7, %6 : f32
      %9 = arith.fptosi %8 : f32 to i32
      %10 = arith.trunci %9 : i32 to i8
      linalg.yield %10 : i8
    } -> tensor<2x8xi8>
    return %1 : tensor<2x8xi8>
  }
}
