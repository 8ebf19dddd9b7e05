func.func @main(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) {
  %y = "sparsec.weight"() {sym_name = "w"} : () -> tensor<8xf32>
  return %y, %y, %x : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}
