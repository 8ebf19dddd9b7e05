func.func @main(%x: !torch.vtensor<[4,16],f16>) -> !torch.vtensor<[4,16],f16> {
  %w = "sparsec.weight"() {sym_name = "w"} : () -> tensor<4x16xf16>
  %0 = torch_c.from_builtin_tensor %w : tensor<4x16xf16> -> !torch.vtensor<[4,16],f16>
  %1 = torch.aten.mul.Tensor %x, %0 : !torch.vtensor<[4,16],f16>, !torch.vtensor<[4,16],f16> -> !torch.vtensor<[4,16],f16>
  %2 = torch.aten.relu %1 : !torch.vtensor<[4,16],f16> -> !torch.vtensor<[4,16],f16>
  return %2 : !torch.vtensor<[4,16],f16>
}
