func.func @main(%x: !torch.vtensor<[2,4],f32>) -> !torch.vtensor<[2,4],f32> {
  %xt = torch_c.to_builtin_tensor %x : !torch.vtensor<[2,4],f32> -> tensor<2x4xf32>
  %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<4x4xf32>
  %0 = "sparsec.linear"(%xt, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %1 = torch_c.from_builtin_tensor %0 : tensor<2x4xf32> -> !torch.vtensor<[2,4],f32>
  %y = torch.aten.relu %1 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  return %y : !torch.vtensor<[2,4],f32>
}
