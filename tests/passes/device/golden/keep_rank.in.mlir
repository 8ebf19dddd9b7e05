func.func @main(%x: tensor<2x16x64xf32>, %p: tensor<2x4x16x8xf32>, %q: tensor<2x4x8x16xf32>) -> (tensor<2x16x8xf32>, tensor<2x4x16x16xf32>) {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<8x64xf32>
  %0 = tensor.collapse_shape %x [[0, 1], [2]] : tensor<2x16x64xf32> into tensor<32x64xf32>
  %1 = "sparsec.linear"(%0, %w) : (tensor<32x64xf32>, tensor<8x64xf32>) -> tensor<32x8xf32>
  %2 = tensor.expand_shape %1 [[0, 1], [2]] output_shape [2, 16, 8] : tensor<32x8xf32> into tensor<2x16x8xf32>
  %3 = tensor.collapse_shape %p [[0, 1], [2], [3]] : tensor<2x4x16x8xf32> into tensor<8x16x8xf32>
  %4 = tensor.collapse_shape %q [[0, 1], [2], [3]] : tensor<2x4x8x16xf32> into tensor<8x8x16xf32>
  %5 = "sparsec.matmul"(%3, %4) : (tensor<8x16x8xf32>, tensor<8x8x16xf32>) -> tensor<8x16x16xf32>
  %6 = tensor.expand_shape %5 [[0, 1], [2], [3]] output_shape [2, 4, 16, 16] : tensor<8x16x16xf32> into tensor<2x4x16x16xf32>
  return %2, %6 : tensor<2x16x8xf32>, tensor<2x4x16x16xf32>
}
