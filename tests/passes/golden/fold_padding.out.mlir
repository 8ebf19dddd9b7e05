module {
  func.func @main(%arg0: !torch.vtensor<[1,2,4,4],f32>) -> !torch.vtensor<[1,3,3,3],f32> {
    %int0 = torch.constant.int 0
    %int1 = torch.constant.int 1
    %float0.000000e00 = torch.constant.float 0.000000e+00
    %0 = torch.prim.ListConstruct %int0, %int1, %int0, %int1 : (!torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
    %1 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<3x2x3x3xf32>
    %2 = torch_c.to_builtin_tensor %arg0 : !torch.vtensor<[1,2,4,4],f32> -> tensor<1x2x4x4xf32>
    %3 = "sparsec.conv"(%2, %1) {after = array<i64: 1, 1>, before = array<i64: 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64, strides = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<3x2x3x3xf32>) -> tensor<1x3x3x3xf32>
    %4 = torch_c.from_builtin_tensor %3 : tensor<1x3x3x3xf32> -> !torch.vtensor<[1,3,3,3],f32>
    return %4 : !torch.vtensor<[1,3,3,3],f32>
  }
}
