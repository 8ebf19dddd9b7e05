func.func @main(%x: !torch.vtensor<[5,2,3,4],f32>) -> !torch.vtensor<[5,2,3,1],f32> {
  %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<2x4x1xf32>
  %w = torch_c.from_builtin_tensor %0 : tensor<2x4x1xf32> -> !torch.vtensor<[2,4,1],f32>
  %y = torch.aten.matmul %x, %w : !torch.vtensor<[5,2,3,4],f32>, !torch.vtensor<[2,4,1],f32> -> !torch.vtensor<[5,2,3,1],f32>
  return %y : !torch.vtensor<[5,2,3,1],f32>
}
