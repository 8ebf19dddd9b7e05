func.func @main(%x: !torch.vtensor<[1,2],f32>) -> !torch.vtensor<[1,3],f32> {
  %two = torch.constant.float 2.0
  %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<3x2xf32>
  %w = torch_c.from_builtin_tensor %0 : tensor<3x2xf32> -> !torch.vtensor<[3,2],f32>
  %t = torch.aten.t %w : !torch.vtensor<[3,2],f32> -> !torch.vtensor<[2,3],f32>
  %s = torch.aten.mul.Scalar %t, %two : !torch.vtensor<[2,3],f32>, !torch.float -> !torch.vtensor<[2,3],f32>
  %y = torch.aten.mm %x, %s : !torch.vtensor<[1,2],f32>, !torch.vtensor<[2,3],f32> -> !torch.vtensor<[1,3],f32>
  return %y : !torch.vtensor<[1,3],f32>
}
