#y = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>
#x = affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>
#w = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<4x4xf32>
  %e = tensor.empty() : tensor<2x4xf32>
  %y = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%x, %w : tensor<2x4xf32>, tensor<4x4xf32>) outs(%e : tensor<2x4xf32>) attrs = {kernel = "f32_linear_dense", layer = "fc"} {
  ^bb0(%xe: f32, %we: f32, %out: f32):
    %0 = "sparsec.linear"(%xe, %we) : (f32, f32) -> f32
    linalg.yield %0 : f32
  } -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
