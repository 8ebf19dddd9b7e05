module {
  func.func @main(%arg0: tensor<2x16x64xf32>, %arg1: tensor<2x4x16x8xf32>, %arg2: tensor<2x4x8x16xf32>) -> (tensor<2x16x8xf32>, tensor<2x4x16x16xf32>) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<8x64xf32>
    %1 = "sparsec.linear"(%arg0, %0) : (tensor<2x16x64xf32>, tensor<8x64xf32>) -> tensor<2x16x8xf32>
    %2 = "sparsec.matmul"(%arg1, %arg2) : (tensor<2x4x16x8xf32>, tensor<2x4x8x16xf32>) -> tensor<2x4x16x16xf32>
    return %1, %2 : tensor<2x16x8xf32>, tensor<2x4x16x16xf32>
  }
}
