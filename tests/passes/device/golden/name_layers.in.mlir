func.func @main(%x: tensor<4x8xf32>, %b: tensor<2xf32>) -> tensor<4x2xf32> {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<2x8xf32>
  %e = tensor.empty() : tensor<4x2xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d1)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%x, %w, %b : tensor<4x8xf32>, tensor<2x8xf32>, tensor<2xf32>) outs(%e : tensor<4x2xf32>) {
  ^bb0(%xe: f32, %we: f32, %be: f32, %out: f32):
    %1 = "sparsec.linear"(%xe, %we) : (f32, f32) -> f32 loc("fc1")
    %2 = arith.addf %1, %be : f32
    linalg.yield %2 : f32
  } -> tensor<4x2xf32>
  return %0 : tensor<4x2xf32>
}
