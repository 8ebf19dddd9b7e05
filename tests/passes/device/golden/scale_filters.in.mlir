func.func @main(%x: !torch.vtensor<[2,3,8,8],f32>) -> !torch.vtensor<[2,4,8,8],f32> {
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %none = torch.constant.none
  %false = torch.constant.bool false
  %zeros = torch.prim.ListConstruct %int0, %int0 : (!torch.int, !torch.int) -> !torch.list<int>
  %ones = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
  %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<4x3x1x1xf32>
  %w = torch_c.from_builtin_tensor %0 : tensor<4x3x1x1xf32> -> !torch.vtensor<[4,3,1,1],f32>
  %1 = "sparsec.weight"() {sym_name = "shift"} : () -> tensor<1x4x1x1xf32>
  %shift = torch_c.from_builtin_tensor %1 : tensor<1x4x1x1xf32> -> !torch.vtensor<[1,4,1,1],f32>
  %scale = torch.vtensor.literal(dense<2.0> : tensor<1x4x1x1xf32>) : !torch.vtensor<[1,4,1,1],f32>
  %c = torch.aten.convolution %x, %w, %none, %ones, %zeros, %ones, %false, %zeros, %int1 : !torch.vtensor<[2,3,8,8],f32>, !torch.vtensor<[4,3,1,1],f32>, !torch.none, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[2,4,8,8],f32>
  %s = torch.aten.mul.Tensor %scale, %c : !torch.vtensor<[1,4,1,1],f32>, !torch.vtensor<[2,4,8,8],f32> -> !torch.vtensor<[2,4,8,8],f32>
  %y = torch.aten.add.Tensor %s, %shift, %int1 : !torch.vtensor<[2,4,8,8],f32>, !torch.vtensor<[1,4,1,1],f32>, !torch.int -> !torch.vtensor<[2,4,8,8],f32>
  return %y : !torch.vtensor<[2,4,8,8],f32>
}
