#map = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d6, d5, d7)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>
module {
  func.func @main(%arg0: tensor<1x16x4x8xf32>, %arg1: tensor<1x4x16x8xf32>) -> tensor<1x4x16x16xf32> {
    %0 = tensor.empty() : tensor<1x4x16x8xf32>
    %1 = tensor.empty() : tensor<1x4x16x16xf32>
    %2 = linalg.generic {indexing_maps = [#map, #map1, #map2], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%arg0, %arg1 : tensor<1x16x4x8xf32>, tensor<1x4x16x8xf32>) outs(%1 : tensor<1x4x16x16xf32>) {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %3 = "sparsec.matmul"(%in, %in_0) {left_axes = array<i64: 0, 2, 1, 3>, transposed} : (f32, f32) -> f32
      linalg.yield %3 : f32
    } -> tensor<1x4x16x16xf32>
    return %2 : tensor<1x4x16x16xf32>
  }
}
