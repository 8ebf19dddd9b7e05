func.func @main(%x: !torch.vtensor<[1,2],f32>) -> !torch.vtensor<[1,3],f32> {
  %w = torch.vtensor.literal(dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>) : !torch.vtensor<[2,3],f32>
  %y = torch.aten.mm %x, %w : !torch.vtensor<[1,2],f32>, !torch.vtensor<[2,3],f32> -> !torch.vtensor<[1,3],f32>
  return %y : !torch.vtensor<[1,3],f32>
}
