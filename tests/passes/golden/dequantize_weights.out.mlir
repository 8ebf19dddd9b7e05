module {
  func.func @main() -> !torch.vtensor<[4,2],f32> {
    %int0 = torch.constant.int 0
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<4x2xi8>
    %1 = torch_c.from_builtin_tensor %0 : tensor<4x2xi8> -> !torch.vtensor<[4,2],si8>
    %2 = torch.vtensor.literal(dense<[2.500000e-01, 5.000000e-01, 7.500000e-01, 1.000000e+00]> : tensor<4xf32>) : !torch.vtensor<[4],f32>
    %3 = torch.vtensor.literal(dense<1> : tensor<4xsi8>) : !torch.vtensor<[4],si8>
    %4 = torch.aten._make_per_channel_quantized_tensor %1, %2, %3, %int0 : !torch.vtensor<[4,2],si8>, !torch.vtensor<[4],f32>, !torch.vtensor<[4],si8>, !torch.int -> !torch.vtensor<[4,2],!torch.qint8>
    %5 = "sparsec.weight"() {sym_name = "w/dequantized"} : () -> tensor<4x2xf32>
    %6 = torch_c.from_builtin_tensor %5 : tensor<4x2xf32> -> !torch.vtensor<[4,2],f32>
    return %6 : !torch.vtensor<[4,2],f32>
  }
}
