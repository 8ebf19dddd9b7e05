#map = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d5, d6, d7)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d1)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>
module {
  func.func @main(%arg0: tensor<1x3x2x2xf32>) -> tensor<1x2x2x2xf32> {
    %cst = arith.constant 0.000000e+00 : f32
    %0 = "sparsec.weight"() {sym_name = "w1/pruned"} : () -> tensor<3x3x1x1xf32>
    %1 = "sparsec.weight"() {sym_name = "w1"} : () -> tensor<4x3x1x1xf32>
    %2 = "sparsec.weight"() {sym_name = "epilogue"} : () -> tensor<3xf32>
    %3 = "sparsec.weight"() {sym_name = "b1"} : () -> tensor<4xf32>
    %4 = "sparsec.weight"() {sym_name = "w2/pruned"} : () -> tensor<2x3x1x1xf32>
    %5 = "sparsec.weight"() {sym_name = "w2"} : () -> tensor<2x4x1x1xf32>
    %6 = tensor.empty() : tensor<1x4x2x2xf32>
    %7 = tensor.empty() : tensor<1x3x2x2xf32>
    %8 = linalg.generic {indexing_maps = [#map, #map1, #map2, #map3], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%arg0, %0, %2 : tensor<1x3x2x2xf32>, tensor<3x3x1x1xf32>, tensor<3xf32>) outs(%7 : tensor<1x3x2x2xf32>) {
    ^bb0(%in: f32, %in_0: f32, %in_1: f32, %out: f32):
      %13 = "sparsec.conv"(%in, %in_0) {after = array<i64: 0, 0>, before = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64, strides = array<i64: 1, 1>} : (f32, f32) -> f32
      %14 = arith.addf %13, %in_1 : f32
      %15 = arith.maximumf %14, %cst : f32
      linalg.yield %15 : f32
    } -> tensor<1x3x2x2xf32>
    %9 = tensor.empty() : tensor<1x2x2x2xf32>
    %10 = "sparsec.weight"() {sym_name = "constant_channels"} : () -> tensor<2xf32>
    %11 = tensor.empty() : tensor<1x2x2x2xf32>
    %12 = linalg.generic {indexing_maps = [#map, #map1, #map2, #map3], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%8, %4, %10 : tensor<1x3x2x2xf32>, tensor<2x3x1x1xf32>, tensor<2xf32>) outs(%11 : tensor<1x2x2x2xf32>) {
    ^bb0(%in: f32, %in_0: f32, %in_1: f32, %out: f32):
      %13 = "sparsec.conv"(%in, %in_0) {after = array<i64: 0, 0>, before = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64, strides = array<i64: 1, 1>} : (f32, f32) -> f32
      %14 = arith.addf %13, %in_1 : f32
      linalg.yield %14 : f32
    } -> tensor<1x2x2x2xf32>
    return %12 : tensor<1x2x2x2xf32>
  }
}
