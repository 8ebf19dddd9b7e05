module {
  func.func @main(%arg0: !torch.vtensor<[1,1,4,4],f32>) -> !torch.vtensor<[1,2,4,4],f32> {
    %int0 = torch.constant.int 0
    %int1 = torch.constant.int 1
    %int2 = torch.constant.int 2
    %none = torch.constant.none
    %false = torch.constant.bool false
    %true = torch.constant.bool true
    %0 = torch.prim.ListConstruct %int0, %int0 : (!torch.int, !torch.int) -> !torch.list<int>
    %1 = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
    %2 = torch.prim.ListConstruct %int2, %int2 : (!torch.int, !torch.int) -> !torch.list<int>
    %float0.000000e00 = torch.constant.float 0.000000e+00
    %float1.000000e-01 = torch.constant.float 1.000000e-01
    %3 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<2x1x1x1xf32>
    %4 = "sparsec.weight"() {sym_name = "gamma"} : () -> tensor<2xf32>
    %5 = "sparsec.weight"() {sym_name = "beta"} : () -> tensor<2xf32>
    %6 = "sparsec.weight"() {sym_name = "mean"} : () -> tensor<2xf32>
    %7 = "sparsec.weight"() {sym_name = "variance"} : () -> tensor<2xf32>
    %8 = torch_c.from_builtin_tensor %3 : tensor<2x1x1x1xf32> -> !torch.vtensor<[2,1,1,1],f32>
    %9 = torch_c.from_builtin_tensor %4 : tensor<2xf32> -> !torch.vtensor<[2],f32>
    %10 = torch_c.from_builtin_tensor %5 : tensor<2xf32> -> !torch.vtensor<[2],f32>
    %11 = torch_c.from_builtin_tensor %6 : tensor<2xf32> -> !torch.vtensor<[2],f32>
    %12 = torch_c.from_builtin_tensor %7 : tensor<2xf32> -> !torch.vtensor<[2],f32>
    %13 = "sparsec.weight"() {sym_name = "w/batch_norm"} : () -> tensor<2x1x1x1xf32>
    %14 = torch_c.from_builtin_tensor %13 : tensor<2x1x1x1xf32> -> !torch.vtensor<[2,1,1,1],f32>
    %15 = "sparsec.weight"() {sym_name = "w/bias"} : () -> tensor<2xf32>
    %16 = torch_c.from_builtin_tensor %15 : tensor<2xf32> -> !torch.vtensor<[2],f32>
    %17 = torch.aten.convolution %arg0, %14, %16, %1, %0, %1, %false, %0, %int1 : !torch.vtensor<[1,1,4,4],f32>, !torch.vtensor<[2,1,1,1],f32>, !torch.vtensor<[2],f32>, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[1,2,4,4],f32>
    return %17 : !torch.vtensor<[1,2,4,4],f32>
  }
}
