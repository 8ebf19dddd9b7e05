#map = affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d1)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>
module {
  func.func @main(%arg0: tensor<4x8xf32>, %arg1: tensor<2xf32>) -> tensor<4x2xf32> {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<2x8xf32>
    %1 = tensor.empty() : tensor<4x2xf32>
    %2 = linalg.generic {indexing_maps = [#map, #map1, #map2, #map3], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%arg0, %0, %arg1 : tensor<4x8xf32>, tensor<2x8xf32>, tensor<2xf32>) outs(%1 : tensor<4x2xf32>) attrs =  {layer = "fc1"} {
    ^bb0(%in: f32, %in_0: f32, %in_1: f32, %out: f32):
      %3 = "sparsec.linear"(%in, %in_0) : (f32, f32) -> f32
      %4 = arith.addf %3, %in_1 : f32
      linalg.yield %4 : f32
    } -> tensor<4x2xf32>
    return %2 : tensor<4x2xf32>
  }
}
