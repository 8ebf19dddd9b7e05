func.func @main(%x: tensor<4x8xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>) {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<2x8xf32>
  %v = "sparsec.weight"() {sym_name = "v"} : () -> tensor<2x8xf32>
  %b = "sparsec.weight"() {sym_name = "b"} : () -> tensor<2xf32>
  %c = "sparsec.weight"() {sym_name = "c"} : () -> tensor<2xf32>
  %e = tensor.empty() : tensor<4x2xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d1)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%x, %w, %b : tensor<4x8xf32>, tensor<2x8xf32>, tensor<2xf32>) outs(%e : tensor<4x2xf32>) {
  ^bb0(%xe: f32, %we: f32, %be: f32, %out: f32):
    %2 = "sparsec.linear"(%xe, %we) : (f32, f32) -> f32
    %3 = arith.addf %2, %be : f32
    linalg.yield %3 : f32
  } -> tensor<4x2xf32>
  %f = tensor.empty() : tensor<4x2xf32>
  %1 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d1)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%x, %v, %c : tensor<4x8xf32>, tensor<2x8xf32>, tensor<2xf32>) outs(%f : tensor<4x2xf32>) {
  ^bb0(%xe: f32, %we: f32, %be: f32, %out: f32):
    %2 = "sparsec.linear"(%xe, %we) : (f32, f32) -> f32
    %3 = arith.addf %2, %be : f32
    linalg.yield %3 : f32
  } -> tensor<4x2xf32>
  return %0, %1 : tensor<4x2xf32>, tensor<4x2xf32>
}
