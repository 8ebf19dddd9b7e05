module {
  func.func @main(%arg0: !torch.vtensor<[1,8,9,9],f32>) -> !torch.vtensor<[1,8,5,5],f32> {
    %int1 = torch.constant.int 1
    %int2 = torch.constant.int 2
    %int3 = torch.constant.int 3
    %false = torch.constant.bool false
    %0 = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
    %1 = torch.prim.ListConstruct %int2, %int2 : (!torch.int, !torch.int) -> !torch.list<int>
    %2 = torch.prim.ListConstruct %int3, %int3 : (!torch.int, !torch.int) -> !torch.list<int>
    %3 = torch_c.to_builtin_tensor %arg0 : !torch.vtensor<[1,8,9,9],f32> -> tensor<1x8x9x9xf32>
    %4 = "sparsec.pool"(%3) {after = array<i64: 1, 1>, before = array<i64: 1, 1>, dilations = array<i64: 1, 1>, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>} : (tensor<1x8x9x9xf32>) -> tensor<1x8x5x5xf32>
    %5 = torch_c.from_builtin_tensor %4 : tensor<1x8x5x5xf32> -> !torch.vtensor<[1,8,5,5],f32>
    return %5 : !torch.vtensor<[1,8,5,5],f32>
  }
}
