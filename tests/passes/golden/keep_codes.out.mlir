module {
  func.func @main(%arg0: !torch.vtensor<[4,8],ui8>) -> !torch.vtensor<[8,4],ui8> {
    %int6 = torch.constant.int 6
    %int0 = torch.constant.int 0
    %int1 = torch.constant.int 1
    %int3 = torch.constant.int 3
    %false = torch.constant.bool false
    %none = torch.constant.none
    %0 = torch.vtensor.literal(dense<5.000000e-01> : tensor<f32>) : !torch.vtensor<[],f32>
    %1 = torch.vtensor.literal(dense<3.000000e+00> : tensor<f32>) : !torch.vtensor<[],f32>
    %2 = torch.vtensor.literal(dense<0.000000e+00> : tensor<f32>) : !torch.vtensor<[],f32>
    %3 = torch.vtensor.literal(dense<2.550000e+02> : tensor<f32>) : !torch.vtensor<[],f32>
    %4 = torch.aten.to.dtype %arg0, %int6, %false, %false, %none : !torch.vtensor<[4,8],ui8>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[4,8],f32>
    %5 = torch.aten.sub.Tensor %4, %1, %int1 : !torch.vtensor<[4,8],f32>, !torch.vtensor<[],f32>, !torch.int -> !torch.vtensor<[4,8],f32>
    %6 = torch.aten.mul.Tensor %5, %0 : !torch.vtensor<[4,8],f32>, !torch.vtensor<[],f32> -> !torch.vtensor<[4,8],f32>
    %7 = torch.aten.transpose.int %arg0, %int0, %int1 : !torch.vtensor<[4,8],ui8>, !torch.int, !torch.int -> !torch.vtensor<[8,4],ui8>
    return %7 : !torch.vtensor<[8,4],ui8>
  }
}
