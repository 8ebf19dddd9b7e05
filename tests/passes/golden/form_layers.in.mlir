func.func @main(%x: !torch.vtensor<[4,8],f32>, %b: !torch.vtensor<[3],f32>) -> (!torch.vtensor<[4,3],f32>, !torch.vtensor<[4,3],f32>) {
  %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<3x8xf32>
  %w = torch_c.from_builtin_tensor %0 : tensor<3x8xf32> -> !torch.vtensor<[3,8],f32>
  %1 = "sparsec.weight"() {sym_name = "v"} : () -> tensor<8x3xf32>
  %v = torch_c.from_builtin_tensor %1 : tensor<8x3xf32> -> !torch.vtensor<[8,3],f32>
  %y = torch.aten.linear %x, %w, %b : !torch.vtensor<[4,8],f32>, !torch.vtensor<[3,8],f32>, !torch.vtensor<[3],f32> -> !torch.vtensor<[4,3],f32>
  %z = torch.aten.mm %x, %v : !torch.vtensor<[4,8],f32>, !torch.vtensor<[8,3],f32> -> !torch.vtensor<[4,3],f32>
  return %y, %z : !torch.vtensor<[4,3],f32>, !torch.vtensor<[4,3],f32>
}
