func.func @main(%q: !torch.vtensor<[2,4,16,8],f32>, %k: !torch.vtensor<[2,4,16,8],f32>, %v: !torch.vtensor<[2,4,16,8],f32>, %mask: !torch.vtensor<[2,1,1,16],f32>) -> !torch.vtensor<[2,4,16,8],f32> {
  %one = torch.constant.int 1
  %last = torch.constant.int -1
  %none = torch.constant.none
  %eight = torch.constant.float 8.0
  %0 = torch_c.to_builtin_tensor %q : !torch.vtensor<[2,4,16,8],f32> -> tensor<2x4x16x8xf32>
  %1 = torch_c.to_builtin_tensor %k : !torch.vtensor<[2,4,16,8],f32> -> tensor<2x4x16x8xf32>
  %2 = "sparsec.matmul"(%0, %1) {transposed} : (tensor<2x4x16x8xf32>, tensor<2x4x16x8xf32>) -> tensor<2x4x16x16xf32>
  %3 = torch_c.from_builtin_tensor %2 : tensor<2x4x16x16xf32> -> !torch.vtensor<[2,4,16,16],f32>
  %4 = torch.aten.div.Scalar %3, %eight : !torch.vtensor<[2,4,16,16],f32>, !torch.float -> !torch.vtensor<[2,4,16,16],f32>
  %5 = torch.aten.add.Tensor %4, %mask, %one : !torch.vtensor<[2,4,16,16],f32>, !torch.vtensor<[2,1,1,16],f32>, !torch.int -> !torch.vtensor<[2,4,16,16],f32>
  %6 = torch.aten.softmax.int %5, %last, %none : !torch.vtensor<[2,4,16,16],f32>, !torch.int, !torch.none -> !torch.vtensor<[2,4,16,16],f32>
  %7 = torch_c.to_builtin_tensor %6 : !torch.vtensor<[2,4,16,16],f32> -> tensor<2x4x16x16xf32>
  %8 = torch_c.to_builtin_tensor %v : !torch.vtensor<[2,4,16,8],f32> -> tensor<2x4x16x8xf32>
  %9 = "sparsec.matmul"(%7, %8) : (tensor<2x4x16x16xf32>, tensor<2x4x16x8xf32>) -> tensor<2x4x16x8xf32>
  %10 = torch_c.from_builtin_tensor %9 : tensor<2x4x16x8xf32> -> !torch.vtensor<[2,4,16,8],f32>
  return %10 : !torch.vtensor<[2,4,16,8],f32>
}
