func.func @main(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %0 = "sparsec.held"(%x) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}
