#map = affine_map<(d0, d1) -> (d0, d1)>
module {
  func.func @main(%arg0: tensor<2x8xf32>) -> tensor<2x8xf32> {
    %cst = arith.constant 0.000000e+00 : f32
    %cst_0 = arith.constant 2.550000e+02 : f32
    %cst_1 = arith.constant 1.250000e-01 : f32
    %0 = tensor.empty() : tensor<2x8xf32>
    %1 = tensor.empty() : tensor<2x8xi8>
    %2 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<2x8xf32>) outs(%1 : tensor<2x8xi8>) {
    ^bb0(%in: f32, %out: i8):
      %6 = math.roundeven %in : f32
      %7 = arith.maximumf %6, %cst : f32
      %8 = arith.minimumf %7, %cst_0 : f32
      %9 = arith.fptosi %8 : f32 to i32
      %10 = arith.trunci %9 : i32 to i8
      linalg.yield %10 : i8
    } -> tensor<2x8xi8>
    %3 = "sparsec.weight"() {sym_name = "table"} : () -> tensor<256xf32>
    %4 = tensor.empty() : tensor<2x8xf32>
    %5 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%2 : tensor<2x8xi8>) outs(%4 : tensor<2x8xf32>) {
    ^bb0(%in: i8, %out: f32):
      %6 = arith.index_castui %in : i8 to index
      %extracted = tensor.extract %3[%6] : tensor<256xf32>
      linalg.yield %extracted : f32
    } -> tensor<2x8xf32>
    return %5 : tensor<2x8xf32>
  }
}
