module {
  func.func @main(%arg0: !torch.vtensor<[1,2],f32>) -> !torch.vtensor<[1,3],f32> {
    %float2.000000e00 = torch.constant.float 2.000000e+00
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<3x2xf32>
    %1 = torch_c.from_builtin_tensor %0 : tensor<3x2xf32> -> !torch.vtensor<[3,2],f32>
    %2 = "sparsec.weight"() {sym_name = "w/t"} : () -> tensor<2x3xf32>
    %3 = torch_c.from_builtin_tensor %2 : tensor<2x3xf32> -> !torch.vtensor<[2,3],f32>
    %4 = "sparsec.weight"() {sym_name = "w/t/Scalar"} : () -> tensor<2x3xf32>
    %5 = torch_c.from_builtin_tensor %4 : tensor<2x3xf32> -> !torch.vtensor<[2,3],f32>
    %6 = torch.aten.mm %arg0, %5 : !torch.vtensor<[1,2],f32>, !torch.vtensor<[2,3],f32> -> !torch.vtensor<[1,3],f32>
    return %6 : !torch.vtensor<[1,3],f32>
  }
}
