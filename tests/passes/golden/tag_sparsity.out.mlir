module {
  func.func @main(%arg0: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %0 = "sparsec.weight"() {density = 2.500000e-01 : f64, facts = "75.0 % zeros, 1:4", sym_name = "w"} : () -> tensor<4x4xf32>
    %1 = "sparsec.linear"(%arg0, %0) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    return %1 : tensor<2x4xf32>
  }
}
