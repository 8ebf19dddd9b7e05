func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<4x4xf32>
  %y = "sparsec.linear"(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
