func.func @main(%p: tensor<128x96xf32>, %bias: !torch.vtensor<[96],f32>) -> !torch.vtensor<[12,128,8],f32> {
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int8 = torch.constant.int 8
  %int12 = torch.constant.int 12
  %int128 = torch.constant.int 128
  %w = tensor.empty() : tensor<96x96xf32>
  %0 = "sparsec.linear"(%p, %w) : (tensor<128x96xf32>, tensor<96x96xf32>) -> tensor<128x96xf32>
  %1 = torch_c.from_builtin_tensor %0 : tensor<128x96xf32> -> !torch.vtensor<[128,96],f32>
  %2 = torch.aten.add.Tensor %1, %bias, %int1 : !torch.vtensor<[128,96],f32>, !torch.vtensor<[96],f32>, !torch.int -> !torch.vtensor<[128,96],f32>
  %3 = torch.prim.ListConstruct %int128, %int12, %int8 : (!torch.int, !torch.int, !torch.int) -> !torch.list<int>
  %4 = torch.aten.view %2, %3 : !torch.vtensor<[128,96],f32>, !torch.list<int> -> !torch.vtensor<[128,12,8],f32>
  %5 = torch.aten.transpose.int %4, %int0, %int1 : !torch.vtensor<[128,12,8],f32>, !torch.int, !torch.int -> !torch.vtensor<[12,128,8],f32>
  return %5 : !torch.vtensor<[12,128,8],f32>
}
