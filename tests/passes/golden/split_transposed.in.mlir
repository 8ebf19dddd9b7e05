func.func @main(%x: !torch.vtensor<[1,1,4,4],f32>) -> !torch.vtensor<[1,2,8,8],f32> {
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %none = torch.constant.none
  %false = torch.constant.bool false
  %true = torch.constant.bool true
  %zeros = torch.prim.ListConstruct %int0, %int0 : (!torch.int, !torch.int) -> !torch.list<int>
  %ones = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
  %twos = torch.prim.ListConstruct %int2, %int2 : (!torch.int, !torch.int) -> !torch.list<int>
  %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<1x2x2x2xf32>
  %w = torch_c.from_builtin_tensor %0 : tensor<1x2x2x2xf32> -> !torch.vtensor<[1,2,2,2],f32>
  %y = torch.aten.convolution %x, %w, %none, %twos, %zeros, %ones, %true, %zeros, %int1 : !torch.vtensor<[1,1,4,4],f32>, !torch.vtensor<[1,2,2,2],f32>, !torch.none, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[1,2,8,8],f32>
  return %y : !torch.vtensor<[1,2,8,8],f32>
}
