module {
  func.func @main(%arg0: tensor<128x96xf32>, %arg1: !torch.vtensor<[96],f32>) -> !torch.vtensor<[12,128,8],f32> {
    %int0 = torch.constant.int 0
    %int1 = torch.constant.int 1
    %int8 = torch.constant.int 8
    %int12 = torch.constant.int 12
    %int128 = torch.constant.int 128
    %0 = tensor.empty() : tensor<96x96xf32>
    %1 = "sparsec.linear"(%arg0, %0) : (tensor<128x96xf32>, tensor<96x96xf32>) -> tensor<128x96xf32>
    %2 = torch_c.from_builtin_tensor %1 : tensor<128x96xf32> -> !torch.vtensor<[128,96],f32>
    %3 = torch.aten.add.Tensor %2, %arg1, %int1 : !torch.vtensor<[128,96],f32>, !torch.vtensor<[96],f32>, !torch.int -> !torch.vtensor<[128,96],f32>
    %4 = torch.prim.ListConstruct %int128, %int12, %int8 : (!torch.int, !torch.int, !torch.int) -> !torch.list<int>
    %5 = torch_c.to_builtin_tensor %3 : !torch.vtensor<[128,96],f32> -> tensor<128x96xf32>
    %6 = "sparsec.held"(%5) : (tensor<128x96xf32>) -> tensor<128x96xf32>
    %7 = torch_c.from_builtin_tensor %6 : tensor<128x96xf32> -> !torch.vtensor<[128,96],f32>
    %8 = torch.aten.view %7, %4 : !torch.vtensor<[128,96],f32>, !torch.list<int> -> !torch.vtensor<[128,12,8],f32>
    %9 = torch.aten.transpose.int %8, %int0, %int1 : !torch.vtensor<[128,12,8],f32>, !torch.int, !torch.int -> !torch.vtensor<[12,128,8],f32>
    return %9 : !torch.vtensor<[12,128,8],f32>
  }
}
