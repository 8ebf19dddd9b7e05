func.func @main(%x: !torch.vtensor<[1,2,4,4],f32>) -> !torch.vtensor<[1,3,3,3],f32> {
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %zero = torch.constant.float 0.0
  %amounts = torch.prim.ListConstruct %int0, %int1, %int0, %int1 : (!torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
  %p = torch.aten.constant_pad_nd %x, %amounts, %zero : !torch.vtensor<[1,2,4,4],f32>, !torch.list<int>, !torch.float -> !torch.vtensor<[1,2,5,5],f32>
  %t = torch_c.to_builtin_tensor %p : !torch.vtensor<[1,2,5,5],f32> -> tensor<1x2x5x5xf32>
  %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<3x2x3x3xf32>
  %0 = "sparsec.conv"(%t, %w) {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, before = array<i64: 0, 0>, after = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x2x5x5xf32>, tensor<3x2x3x3xf32>) -> tensor<1x3x3x3xf32>
  %y = torch_c.from_builtin_tensor %0 : tensor<1x3x3x3xf32> -> !torch.vtensor<[1,3,3,3],f32>
  return %y : !torch.vtensor<[1,3,3,3],f32>
}
