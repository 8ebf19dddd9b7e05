module {
  func.func @main(%arg0: !torch.vtensor<[4,16],f16>) -> !torch.vtensor<[4,16],f16> {
    %false = torch.constant.bool false
    %int6 = torch.constant.int 6
    %none = torch.constant.none
    %0 = torch.aten.to.dtype %arg0, %int6, %false, %false, %none : !torch.vtensor<[4,16],f16>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[4,16],f32>
    %1 = "sparsec.weight"() {sym_name = "w/wide"} : () -> tensor<4x16xf32>
    %2 = torch_c.from_builtin_tensor %1 : tensor<4x16xf32> -> !torch.vtensor<[4,16],f32>
    %3 = torch.aten.mul.Tensor %0, %2 : !torch.vtensor<[4,16],f32>, !torch.vtensor<[4,16],f32> -> !torch.vtensor<[4,16],f32>
    %4 = torch.aten.relu %3 : !torch.vtensor<[4,16],f32> -> !torch.vtensor<[4,16],f32>
    %false_0 = torch.constant.bool false
    %int5 = torch.constant.int 5
    %none_1 = torch.constant.none
    %5 = torch.aten.to.dtype %4, %int5, %false_0, %false_0, %none_1 : !torch.vtensor<[4,16],f32>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[4,16],f16>
    return %5 : !torch.vtensor<[4,16],f16>
  }
}
