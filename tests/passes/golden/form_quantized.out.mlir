module {
  func.func @main(%arg0: !torch.vtensor<[2,8],ui8>) -> !torch.vtensor<[2,4],ui8> {
    %int6 = torch.constant.int 6
    %int0 = torch.constant.int 0
    %int1 = torch.constant.int 1
    %int3 = torch.constant.int 3
    %false = torch.constant.bool false
    %none = torch.constant.none
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<8x4xi8>
    %1 = torch_c.from_builtin_tensor %0 : tensor<8x4xi8> -> !torch.vtensor<[8,4],si8>
    %2 = torch.vtensor.literal(dense<[2.500000e-01, 5.000000e-01, 7.500000e-01, 1.000000e+00]> : tensor<4xf32>) : !torch.vtensor<[4],f32>
    %3 = torch.vtensor.literal(dense<0> : tensor<4xsi8>) : !torch.vtensor<[4],si8>
    %4 = torch.vtensor.literal(dense<[1.250000e-01, 5.000000e-01, 7.500000e-01, -2.000000e+00]> : tensor<4xf32>) : !torch.vtensor<[4],f32>
    %5 = torch.vtensor.literal(dense<5.000000e-01> : tensor<f32>) : !torch.vtensor<[],f32>
    %6 = torch.vtensor.literal(dense<1.000000e+02> : tensor<f32>) : !torch.vtensor<[],f32>
    %7 = torch.vtensor.literal(dense<2.500000e-01> : tensor<f32>) : !torch.vtensor<[],f32>
    %8 = torch.vtensor.literal(dense<0.000000e+00> : tensor<f32>) : !torch.vtensor<[],f32>
    %9 = torch.vtensor.literal(dense<2.550000e+02> : tensor<f32>) : !torch.vtensor<[],f32>
    %10 = torch.aten.to.dtype %arg0, %int6, %false, %false, %none : !torch.vtensor<[2,8],ui8>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[2,8],f32>
    %11 = torch.aten.sub.Tensor %10, %6, %int1 : !torch.vtensor<[2,8],f32>, !torch.vtensor<[],f32>, !torch.int -> !torch.vtensor<[2,8],f32>
    %12 = torch.aten.mul.Tensor %11, %5 : !torch.vtensor<[2,8],f32>, !torch.vtensor<[],f32> -> !torch.vtensor<[2,8],f32>
    %13 = torch.aten._make_per_channel_quantized_tensor %1, %2, %3, %int1 : !torch.vtensor<[8,4],si8>, !torch.vtensor<[4],f32>, !torch.vtensor<[4],si8>, !torch.int -> !torch.vtensor<[8,4],!torch.qint8>
    %14 = torch.aten.dequantize.self %13 : !torch.vtensor<[8,4],!torch.qint8> -> !torch.vtensor<[8,4],f32>
    %15 = "sparsec.weight"() {sym_name = "-/codes"} : () -> tensor<4x8xi8>
    %16 = torch_c.to_builtin_tensor %arg0 : !torch.vtensor<[2,8],ui8> -> tensor<2x8xi8>
    %17 = "sparsec.linear"(%16, %15) : (tensor<2x8xi8>, tensor<4x8xi8>) -> tensor<2x4xi32>
    %18 = torch_c.from_builtin_tensor %17 : tensor<2x4xi32> -> !torch.vtensor<[2,4],si32>
    %19 = "sparsec.weight"() {sym_name = "-/bias"} : () -> tensor<4xi32>
    %20 = torch_c.from_builtin_tensor %19 : tensor<4xi32> -> !torch.vtensor<[4],si32>
    %int1_0 = torch.constant.int 1
    %21 = torch.aten.add.Tensor %18, %20, %int1_0 : !torch.vtensor<[2,4],si32>, !torch.vtensor<[4],si32>, !torch.int -> !torch.vtensor<[2,4],si32>
    %false_1 = torch.constant.bool false
    %int6_2 = torch.constant.int 6
    %none_3 = torch.constant.none
    %22 = torch.aten.to.dtype %21, %int6_2, %false_1, %false_1, %none_3 : !torch.vtensor<[2,4],si32>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[2,4],f32>
    %23 = "sparsec.weight"() {sym_name = "-/scale"} : () -> tensor<4xf32>
    %24 = torch_c.from_builtin_tensor %23 : tensor<4xf32> -> !torch.vtensor<[4],f32>
    %25 = torch.aten.mul.Tensor %22, %24 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4],f32> -> !torch.vtensor<[2,4],f32>
    %26 = torch.aten.round %25 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
    %27 = torch.aten.clamp.Tensor %26, %8, %9 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[],f32>, !torch.vtensor<[],f32> -> !torch.vtensor<[2,4],f32>
    %28 = torch.aten.to.dtype %27, %int3, %false, %false, %none : !torch.vtensor<[2,4],f32>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[2,4],si32>
    %29 = torch.aten.to.dtype %28, %int0, %false, %false, %none : !torch.vtensor<[2,4],si32>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[2,4],ui8>
    return %29 : !torch.vtensor<[2,4],ui8>
  }
}
