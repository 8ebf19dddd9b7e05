func.func @main() -> !torch.vtensor<[4,2],f32> {
  %int0 = torch.constant.int 0
  %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<4x2xi8>
  %w = torch_c.from_builtin_tensor %0 : tensor<4x2xi8> -> !torch.vtensor<[4,2],si8>
  %scale = torch.vtensor.literal(dense<[0.25, 0.5, 0.75, 1.0]> : tensor<4xf32>) : !torch.vtensor<[4],f32>
  %zero = torch.vtensor.literal(dense<1> : tensor<4xsi8>) : !torch.vtensor<[4],si8>
  %q = torch.aten._make_per_channel_quantized_tensor %w, %scale, %zero, %int0 : !torch.vtensor<[4,2],si8>, !torch.vtensor<[4],f32>, !torch.vtensor<[4],si8>, !torch.int -> !torch.vtensor<[4,2],!torch.qint8>
  %y = torch.aten.dequantize.self %q : !torch.vtensor<[4,2],!torch.qint8> -> !torch.vtensor<[4,2],f32>
  return %y : !torch.vtensor<[4,2],f32>
}
