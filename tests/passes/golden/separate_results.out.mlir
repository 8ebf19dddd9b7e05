module {
  func.func @main(%arg0: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<8xf32>
    %1 = bufferization.alloc_tensor() copy(%0) : tensor<8xf32>
    %2 = bufferization.alloc_tensor() copy(%arg0) : tensor<8xf32>
    return %0, %1, %2 : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
  }
}
