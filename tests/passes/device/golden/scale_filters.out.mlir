module {
  func.func @main(%arg0: !torch.vtensor<[2,3,8,8],f32>) -> !torch.vtensor<[2,4,8,8],f32> {
    %int0 = torch.constant.int 0
    %int1 = torch.constant.int 1
    %none = torch.constant.none
    %false = torch.constant.bool false
    %0 = torch.prim.ListConstruct %int0, %int0 : (!torch.int, !torch.int) -> !torch.list<int>
    %1 = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
    %2 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<4x3x1x1xf32>
    %3 = torch_c.from_builtin_tensor %2 : tensor<4x3x1x1xf32> -> !torch.vtensor<[4,3,1,1],f32>
    %4 = "sparsec.weight"() {sym_name = "shift"} : () -> tensor<1x4x1x1xf32>
    %5 = torch_c.from_builtin_tensor %4 : tensor<1x4x1x1xf32> -> !torch.vtensor<[1,4,1,1],f32>
    %6 = torch.vtensor.literal(dense<2.000000e+00> : tensor<1x4x1x1xf32>) : !torch.vtensor<[1,4,1,1],f32>
    %7 = "sparsec.weight"() {sym_name = "w/scaled"} : () -> tensor<4x3x1x1xf32>
    %8 = torch_c.from_builtin_tensor %7 : tensor<4x3x1x1xf32> -> !torch.vtensor<[4,3,1,1],f32>
    %9 = "sparsec.weight"() {sym_name = "w/bias"} : () -> tensor<4xf32>
    %10 = torch_c.from_builtin_tensor %9 : tensor<4xf32> -> !torch.vtensor<[4],f32>
    %11 = "sparsec.weight"() {sym_name = "w/scaled/bias"} : () -> tensor<4xf32>
    %12 = torch_c.from_builtin_tensor %11 : tensor<4xf32> -> !torch.vtensor<[4],f32>
    %13 = torch.aten.convolution %arg0, %8, %12, %1, %0, %1, %false, %0, %int1 : !torch.vtensor<[2,3,8,8],f32>, !torch.vtensor<[4,3,1,1],f32>, !torch.vtensor<[4],f32>, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[2,4,8,8],f32>
    return %13 : !torch.vtensor<[2,4,8,8],f32>
  }
}
