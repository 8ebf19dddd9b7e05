module {
  func.func @main(%arg0: !torch.vtensor<[2,4,16,8],f32>, %arg1: !torch.vtensor<[2,4,16,8],f32>, %arg2: !torch.vtensor<[2,4,16,8],f32>, %arg3: !torch.vtensor<[2,1,1,16],f32>) -> !torch.vtensor<[2,4,16,8],f32> {
    %int1 = torch.constant.int 1
    %int-1 = torch.constant.int -1
    %none = torch.constant.none
    %float8.000000e00 = torch.constant.float 8.000000e+00
    %0 = torch_c.to_builtin_tensor %arg0 : !torch.vtensor<[2,4,16,8],f32> -> tensor<2x4x16x8xf32>
    %1 = torch_c.to_builtin_tensor %arg1 : !torch.vtensor<[2,4,16,8],f32> -> tensor<2x4x16x8xf32>
    %2 = "sparsec.matmul"(%0, %1) {transposed} : (tensor<2x4x16x8xf32>, tensor<2x4x16x8xf32>) -> tensor<2x4x16x16xf32>
    %3 = torch_c.from_builtin_tensor %2 : tensor<2x4x16x16xf32> -> !torch.vtensor<[2,4,16,16],f32>
    %4 = torch.aten.div.Scalar %3, %float8.000000e00 : !torch.vtensor<[2,4,16,16],f32>, !torch.float -> !torch.vtensor<[2,4,16,16],f32>
    %5 = torch.aten.add.Tensor %4, %arg3, %int1 : !torch.vtensor<[2,4,16,16],f32>, !torch.vtensor<[2,1,1,16],f32>, !torch.int -> !torch.vtensor<[2,4,16,16],f32>
    %6 = torch.aten.softmax.int %5, %int-1, %none : !torch.vtensor<[2,4,16,16],f32>, !torch.int, !torch.none -> !torch.vtensor<[2,4,16,16],f32>
    %7 = torch_c.to_builtin_tensor %6 : !torch.vtensor<[2,4,16,16],f32> -> tensor<2x4x16x16xf32>
    %8 = torch_c.to_builtin_tensor %arg2 : !torch.vtensor<[2,4,16,8],f32> -> tensor<2x4x16x8xf32>
    %9 = torch_c.to_builtin_tensor %arg0 : !torch.vtensor<[2,4,16,8],f32> -> tensor<2x4x16x8xf32>
    %10 = torch_c.to_builtin_tensor %arg1 : !torch.vtensor<[2,4,16,8],f32> -> tensor<2x4x16x8xf32>
    %11 = torch_c.to_builtin_tensor %arg2 : !torch.vtensor<[2,4,16,8],f32> -> tensor<2x4x16x8xf32>
    %12 = torch_c.to_builtin_tensor %arg3 : !torch.vtensor<[2,1,1,16],f32> -> tensor<2x1x1x16xf32>
    %13 = "sparsec.attention"(%9, %10, %11, %12) {scale = 1.250000e-01 : f64} : (tensor<2x4x16x8xf32>, tensor<2x4x16x8xf32>, tensor<2x4x16x8xf32>, tensor<2x1x1x16xf32>) -> tensor<2x4x16x8xf32>
    %14 = torch_c.from_builtin_tensor %13 : tensor<2x4x16x8xf32> -> !torch.vtensor<[2,4,16,8],f32>
    %15 = torch_c.from_builtin_tensor %13 : tensor<2x4x16x8xf32> -> !torch.vtensor<[2,4,16,8],f32>
    return %15 : !torch.vtensor<[2,4,16,8],f32>
  }
}
