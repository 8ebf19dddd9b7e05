module {
  func.func @main(%arg0: !torch.vtensor<[4,8],f32>, %arg1: !torch.vtensor<[3],f32>) -> (!torch.vtensor<[4,3],f32>, !torch.vtensor<[4,3],f32>) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<3x8xf32>
    %1 = torch_c.from_builtin_tensor %0 : tensor<3x8xf32> -> !torch.vtensor<[3,8],f32>
    %2 = "sparsec.weight"() {sym_name = "v"} : () -> tensor<8x3xf32>
    %3 = torch_c.from_builtin_tensor %2 : tensor<8x3xf32> -> !torch.vtensor<[8,3],f32>
    %4 = torch_c.to_builtin_tensor %arg0 : !torch.vtensor<[4,8],f32> -> tensor<4x8xf32>
    %5 = "sparsec.linear"(%4, %0) : (tensor<4x8xf32>, tensor<3x8xf32>) -> tensor<4x3xf32>
    %6 = torch_c.from_builtin_tensor %5 : tensor<4x3xf32> -> !torch.vtensor<[4,3],f32>
    %int1 = torch.constant.int 1
    %7 = torch.aten.add.Tensor %6, %arg1, %int1 : !torch.vtensor<[4,3],f32>, !torch.vtensor<[3],f32>, !torch.int -> !torch.vtensor<[4,3],f32>
    %8 = "sparsec.weight"() {sym_name = "v.T"} : () -> tensor<3x8xf32>
    %9 = torch_c.from_builtin_tensor %8 : tensor<3x8xf32> -> !torch.vtensor<[3,8],f32>
    %10 = torch_c.to_builtin_tensor %arg0 : !torch.vtensor<[4,8],f32> -> tensor<4x8xf32>
    %11 = "sparsec.linear"(%10, %8) : (tensor<4x8xf32>, tensor<3x8xf32>) -> tensor<4x3xf32>
    %12 = torch_c.from_builtin_tensor %11 : tensor<4x3xf32> -> !torch.vtensor<[4,3],f32>
    return %7, %12 : !torch.vtensor<[4,3],f32>, !torch.vtensor<[4,3],f32>
  }
}
