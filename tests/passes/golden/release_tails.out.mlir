module {
  func.func @main(%arg0: tensor<2x8xf32>) -> tensor<2x8xf32> {
    return %arg0 : tensor<2x8xf32>
  }
}
