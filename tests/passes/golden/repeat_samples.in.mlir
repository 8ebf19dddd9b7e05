#all = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d1)>
func.func @main(%x: tensor<1x8xf32>) -> tensor<1x8xf32> attributes {samples = 2 : i64} {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<8xf32>
  %e = tensor.empty() : tensor<1x8xf32>
  %y = linalg.generic {indexing_maps = [#all, #row, #all], iterator_types = ["parallel", "parallel"]} ins(%x, %w : tensor<1x8xf32>, tensor<8xf32>) outs(%e : tensor<1x8xf32>) {
  ^bb0(%in: f32, %weight: f32, %out: f32):
    %0 = arith.mulf %in, %weight : f32
    linalg.yield %0 : f32
  } -> tensor<1x8xf32>
  return %y : tensor<1x8xf32>
}
