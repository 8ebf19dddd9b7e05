func.func @main(%x: !torch.vtensor<[1,1,4,4],f32>) -> !torch.vtensor<[1,2,4,4],f32> {
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %none = torch.constant.none
  %false = torch.constant.bool false
  %true = torch.constant.bool true
  %zeros = torch.prim.ListConstruct %int0, %int0 : (!torch.int, !torch.int) -> !torch.list<int>
  %ones = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
  %twos = torch.prim.ListConstruct %int2, %int2 : (!torch.int, !torch.int) -> !torch.list<int>
  %epsilon = torch.constant.float 0.0
  %momentum = torch.constant.float 0.1
  %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<2x1x1x1xf32>
  %1 = "sparsec.weight"() {sym_name = "gamma"} : () -> tensor<2xf32>
  %2 = "sparsec.weight"() {sym_name = "beta"} : () -> tensor<2xf32>
  %3 = "sparsec.weight"() {sym_name = "mean"} : () -> tensor<2xf32>
  %4 = "sparsec.weight"() {sym_name = "variance"} : () -> tensor<2xf32>
  %w = torch_c.from_builtin_tensor %0 : tensor<2x1x1x1xf32> -> !torch.vtensor<[2,1,1,1],f32>
  %gamma = torch_c.from_builtin_tensor %1 : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %beta = torch_c.from_builtin_tensor %2 : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %mean = torch_c.from_builtin_tensor %3 : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %variance = torch_c.from_builtin_tensor %4 : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %c = torch.aten.convolution %x, %w, %none, %ones, %zeros, %ones, %false, %zeros, %int1 : !torch.vtensor<[1,1,4,4],f32>, !torch.vtensor<[2,1,1,1],f32>, !torch.none, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[1,2,4,4],f32>
  %y = torch.aten.batch_norm %c, %gamma, %beta, %mean, %variance, %false, %momentum, %epsilon, %true : !torch.vtensor<[1,2,4,4],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.bool, !torch.float, !torch.float, !torch.bool -> !torch.vtensor<[1,2,4,4],f32>
  return %y : !torch.vtensor<[1,2,4,4],f32>
}
