#map = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d6, d5, d7)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15) -> (d4, d5, d6, d7)>
#map4 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15) -> (d8, d10, d9, d11)>
#map5 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15) -> (d12, d13, d14, d15)>
#map6 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15) -> (d0, d1, d2, d3)>
module {
  func.func @main(%arg0: tensor<1x16x4x8xf32>, %arg1: tensor<1x4x16x8xf32>) -> (tensor<1x4x16x16xf32>, tensor<1x16x4x8xf32>) {
    %0 = tensor.empty() : tensor<1x4x16x8xf32>
    %1 = tensor.empty() : tensor<1x4x16x16xf32>
    %2 = linalg.generic {indexing_maps = [#map, #map1, #map2], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%arg0, %arg1 : tensor<1x16x4x8xf32>, tensor<1x4x16x8xf32>) outs(%1 : tensor<1x4x16x16xf32>) {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %5 = "sparsec.matmul"(%in, %in_0) {left_axes = array<i64: 0, 2, 1, 3>, transposed} : (f32, f32) -> f32
      linalg.yield %5 : f32
    } -> tensor<1x4x16x16xf32>
    %3 = tensor.empty() : tensor<1x16x4x8xf32>
    %4 = linalg.generic {indexing_maps = [#map3, #map4, #map5, #map6], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%arg1, %arg0, %arg1 : tensor<1x4x16x8xf32>, tensor<1x16x4x8xf32>, tensor<1x4x16x8xf32>) outs(%3 : tensor<1x16x4x8xf32>) {
    ^bb0(%in: f32, %in_0: f32, %in_1: f32, %out: f32):
      %5 = "sparsec.attention"(%in, %in_0, %in_1) {k_axes = array<i64: 0, 2, 1, 3>, scale = 5.000000e-01 : f64, y_axes = array<i64: 0, 2, 1, 3>} : (f32, f32, f32) -> f32
      linalg.yield %5 : f32
    } -> tensor<1x16x4x8xf32>
    return %2, %4 : tensor<1x4x16x16xf32>, tensor<1x16x4x8xf32>
  }
}
