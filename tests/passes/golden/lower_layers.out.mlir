#map = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1)>
#map1 = affine_map<(d0, d1, d2, d3, d4) -> (d2)>
#map2 = affine_map<(d0, d1, d2, d3, d4) -> (d3, d4)>
module {
  func.func private @f32_linear_dense_2x4x4_2x16_id_avx512(memref<8xf32>, memref<64xf32>, memref<8xf32>, index, index)
  func.func @main(%arg0: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<4x4xf32>
    %1 = tensor.empty() : tensor<2x4xf32>
    %2 = "sparsec.weight"() {sym_name = "fc/weight"} : () -> tensor<64xf32>
    %3 = linalg.generic {indexing_maps = [#map, #map1, #map2], iterator_types = ["reduction", "reduction", "reduction", "parallel", "parallel"], library_call = "@f32_linear_dense_2x4x4_2x16_id_avx512"} ins(%arg0, %2 : tensor<2x4xf32>, tensor<64xf32>) outs(%1 : tensor<2x4xf32>) attrs =  {extent = 1 : i64, layer = "fc", order = array<i64: 0, 1, 2>, products = 32 : i64} {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %4 = "sparsec.linear"(%out, %in) : (f32, f32) -> f32
      %5 = "sparsec.linear"(%4, %in_0) : (f32, f32) -> f32
      linalg.yield %5 : f32
    } -> tensor<2x4xf32>
    return %3 : tensor<2x4xf32>
  }
}
