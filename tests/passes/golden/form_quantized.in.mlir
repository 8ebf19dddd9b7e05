func.func @main(%q: !torch.vtensor<[2,8],ui8>) -> !torch.vtensor<[2,4],ui8> {
  %int6 = torch.constant.int 6
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int3 = torch.constant.int 3
  %false = torch.constant.bool false
  %none = torch.constant.none
  %codes = "sparsec.weight"() {sym_name = "w"} : () -> tensor<8x4xi8>
  %w = torch_c.from_builtin_tensor %codes : tensor<8x4xi8> -> !torch.vtensor<[8,4],si8>
  %w_scale = torch.vtensor.literal(dense<[0.25, 0.5, 0.75, 1.0]> : tensor<4xf32>) : !torch.vtensor<[4],f32>
  %w_zero = torch.vtensor.literal(dense<0> : tensor<4xsi8>) : !torch.vtensor<[4],si8>
  %bias = torch.vtensor.literal(dense<[0.125, 0.5, 0.75, -2.0]> : tensor<4xf32>) : !torch.vtensor<[4],f32>
  %x_scale = torch.vtensor.literal(dense<5.000000e-01> : tensor<f32>) : !torch.vtensor<[],f32>
  %x_zero = torch.vtensor.literal(dense<1.000000e+02> : tensor<f32>) : !torch.vtensor<[],f32>
  %y_scale = torch.vtensor.literal(dense<2.500000e-01> : tensor<f32>) : !torch.vtensor<[],f32>
  %low = torch.vtensor.literal(dense<0.000000e+00> : tensor<f32>) : !torch.vtensor<[],f32>
  %high = torch.vtensor.literal(dense<2.550000e+02> : tensor<f32>) : !torch.vtensor<[],f32>
  %0 = torch.aten.to.dtype %q, %int6, %false, %false, %none : !torch.vtensor<[2,8],ui8>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[2,8],f32>
  %1 = torch.aten.sub.Tensor %0, %x_zero, %int1 : !torch.vtensor<[2,8],f32>, !torch.vtensor<[],f32>, !torch.int -> !torch.vtensor<[2,8],f32>
  %2 = torch.aten.mul.Tensor %1, %x_scale : !torch.vtensor<[2,8],f32>, !torch.vtensor<[],f32> -> !torch.vtensor<[2,8],f32>
  %3 = torch.aten._make_per_channel_quantized_tensor %w, %w_scale, %w_zero, %int1 : !torch.vtensor<[8,4],si8>, !torch.vtensor<[4],f32>, !torch.vtensor<[4],si8>, !torch.int -> !torch.vtensor<[8,4],!torch.qint8>
  %4 = torch.aten.dequantize.self %3 : !torch.vtensor<[8,4],!torch.qint8> -> !torch.vtensor<[8,4],f32>
  %5 = torch.aten.mm %2, %4 : !torch.vtensor<[2,8],f32>, !torch.vtensor<[8,4],f32> -> !torch.vtensor<[2,4],f32>
  %6 = torch.aten.add.Tensor %5, %bias, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %7 = torch.aten.relu %6 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %8 = torch.aten.div.Tensor %7, %y_scale : !torch.vtensor<[2,4],f32>, !torch.vtensor<[],f32> -> !torch.vtensor<[2,4],f32>
  %9 = torch.aten.round %8 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %10 = torch.aten.clamp.Tensor %9, %low, %high : !torch.vtensor<[2,4],f32>, !torch.vtensor<[],f32>, !torch.vtensor<[],f32> -> !torch.vtensor<[2,4],f32>
  %11 = torch.aten.to.dtype %10, %int3, %false, %false, %none : !torch.vtensor<[2,4],f32>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[2,4],si32>
  %12 = torch.aten.to.dtype %11, %int0, %false, %false, %none : !torch.vtensor<[2,4],si32>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[2,4],ui8>
  return %12 : !torch.vtensor<[2,4],ui8>
}
