module {
  func.func @main(%arg0: !torch.vtensor<[1,2],f32>) -> !torch.vtensor<[1,3],f32> {
    %0 = "sparsec.weight"() {sym_name = "literal"} : () -> tensor<2x3xf32>
    %1 = torch_c.from_builtin_tensor %0 : tensor<2x3xf32> -> !torch.vtensor<[2,3],f32>
    %2 = torch.aten.mm %arg0, %1 : !torch.vtensor<[1,2],f32>, !torch.vtensor<[2,3],f32> -> !torch.vtensor<[1,3],f32>
    return %2 : !torch.vtensor<[1,3],f32>
  }
}
