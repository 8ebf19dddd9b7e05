func.func @main(%q: !torch.vtensor<[4,8],ui8>) -> !torch.vtensor<[8,4],ui8> {
  %int6 = torch.constant.int 6
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int3 = torch.constant.int 3
  %false = torch.constant.bool false
  %none = torch.constant.none
  %scale = torch.vtensor.literal(dense<5.000000e-01> : tensor<f32>) : !torch.vtensor<[],f32>
  %zero = torch.vtensor.literal(dense<3.000000e+00> : tensor<f32>) : !torch.vtensor<[],f32>
  %low = torch.vtensor.literal(dense<0.000000e+00> : tensor<f32>) : !torch.vtensor<[],f32>
  %high = torch.vtensor.literal(dense<2.550000e+02> : tensor<f32>) : !torch.vtensor<[],f32>
  %f = torch.aten.to.dtype %q, %int6, %false, %false, %none : !torch.vtensor<[4,8],ui8>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[4,8],f32>
  %c = torch.aten.sub.Tensor %f, %zero, %int1 : !torch.vtensor<[4,8],f32>, !torch.vtensor<[],f32>, !torch.int -> !torch.vtensor<[4,8],f32>
  %x = torch.aten.mul.Tensor %c, %scale : !torch.vtensor<[4,8],f32>, !torch.vtensor<[],f32> -> !torch.vtensor<[4,8],f32>
  %t = torch.aten.transpose.int %x, %int0, %int1 : !torch.vtensor<[4,8],f32>, !torch.int, !torch.int -> !torch.vtensor<[8,4],f32>
  %d = torch.aten.div.Tensor %t, %scale : !torch.vtensor<[8,4],f32>, !torch.vtensor<[],f32> -> !torch.vtensor<[8,4],f32>
  %e = torch.aten.round %d : !torch.vtensor<[8,4],f32> -> !torch.vtensor<[8,4],f32>
  %g = torch.aten.add.Tensor %e, %zero, %int1 : !torch.vtensor<[8,4],f32>, !torch.vtensor<[],f32>, !torch.int -> !torch.vtensor<[8,4],f32>
  %h = torch.aten.clamp.Tensor %g, %low, %high : !torch.vtensor<[8,4],f32>, !torch.vtensor<[],f32>, !torch.vtensor<[],f32> -> !torch.vtensor<[8,4],f32>
  %i = torch.aten.to.dtype %h, %int3, %false, %false, %none : !torch.vtensor<[8,4],f32>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[8,4],si32>
  %r = torch.aten.to.dtype %i, %int0, %false, %false, %none : !torch.vtensor<[8,4],si32>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[8,4],ui8>
  return %r : !torch.vtensor<[8,4],ui8>
}
