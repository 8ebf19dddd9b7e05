#y = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>
#x = affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>
#w = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
func.func @main(%x: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<64x64xf32>
  %e = tensor.empty() : tensor<64x64xf32>
  %y = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%x, %w : tensor<64x64xf32>, tensor<64x64xf32>) outs(%e : tensor<64x64xf32>) {
  ^bb0(%xe: f32, %we: f32, %out: f32):
    %0 = "sparsec.linear"(%xe, %we) : (f32, f32) -> f32
    linalg.yield %0 : f32
  } -> tensor<64x64xf32>
  return %y : tensor<64x64xf32>
}
