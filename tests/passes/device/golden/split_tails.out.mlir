#map = affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>
#map3 = affine_map<(d0, d1) -> (d0, d1)>
#map4 = affine_map<(d0, d1) -> (d1)>
module {
  func.func @main(%arg0: tensor<4x8xf32>, %arg1: tensor<2xf32>) -> tensor<4x2xf32> {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<2x8xf32>
    %1 = tensor.empty() : tensor<4x2xf32>
    %2 = tensor.empty() : tensor<4x2xf32>
    %3 = linalg.generic {indexing_maps = [#map, #map1, #map2], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%arg0, %0 : tensor<4x8xf32>, tensor<2x8xf32>) outs(%2 : tensor<4x2xf32>) {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %6 = "sparsec.linear"(%in, %in_0) : (f32, f32) -> f32
      linalg.yield %6 : f32
    } -> tensor<4x2xf32>
    %4 = tensor.empty() : tensor<4x2xf32>
    %5 = linalg.generic {indexing_maps = [#map3, #map4, #map3], iterator_types = ["parallel", "parallel"]} ins(%3, %arg1 : tensor<4x2xf32>, tensor<2xf32>) outs(%4 : tensor<4x2xf32>) {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %6 = arith.addf %in, %in_0 : f32
      %7 = math.tanh %6 : f32
      linalg.yield %7 : f32
    } -> tensor<4x2xf32>
    return %5 : tensor<4x2xf32>
  }
}
