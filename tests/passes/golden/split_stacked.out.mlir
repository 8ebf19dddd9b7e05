module {
  func.func @main(%arg0: !torch.vtensor<[5,2,3,4],f32>) -> !torch.vtensor<[5,2,3,1],f32> {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<2x4x1xf32>
    %1 = torch_c.from_builtin_tensor %0 : tensor<2x4x1xf32> -> !torch.vtensor<[2,4,1],f32>
    %int1 = torch.constant.int 1
    %int0 = torch.constant.int 0
    %int1_0 = torch.constant.int 1
    %int1_1 = torch.constant.int 1
    %2 = torch.aten.slice.Tensor %arg0, %int1, %int0, %int1_0, %int1_1 : !torch.vtensor<[5,2,3,4],f32>, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[5,1,3,4],f32>
    %3 = "sparsec.weight"() {sym_name = "w/0"} : () -> tensor<4x1xf32>
    %4 = torch_c.from_builtin_tensor %3 : tensor<4x1xf32> -> !torch.vtensor<[4,1],f32>
    %5 = torch.aten.matmul %2, %4 : !torch.vtensor<[5,1,3,4],f32>, !torch.vtensor<[4,1],f32> -> !torch.vtensor<[5,1,3,1],f32>
    %int1_2 = torch.constant.int 1
    %int1_3 = torch.constant.int 1
    %int2 = torch.constant.int 2
    %int1_4 = torch.constant.int 1
    %6 = torch.aten.slice.Tensor %arg0, %int1_2, %int1_3, %int2, %int1_4 : !torch.vtensor<[5,2,3,4],f32>, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[5,1,3,4],f32>
    %7 = "sparsec.weight"() {sym_name = "w/1"} : () -> tensor<4x1xf32>
    %8 = torch_c.from_builtin_tensor %7 : tensor<4x1xf32> -> !torch.vtensor<[4,1],f32>
    %9 = torch.aten.matmul %6, %8 : !torch.vtensor<[5,1,3,4],f32>, !torch.vtensor<[4,1],f32> -> !torch.vtensor<[5,1,3,1],f32>
    %10 = torch.prim.ListConstruct %5, %9 : (!torch.vtensor<[5,1,3,1],f32>, !torch.vtensor<[5,1,3,1],f32>) -> !torch.list<vtensor>
    %int1_5 = torch.constant.int 1
    %11 = torch.aten.cat %10, %int1_5 : !torch.list<vtensor>, !torch.int -> !torch.vtensor<[5,2,3,1],f32>
    return %11 : !torch.vtensor<[5,2,3,1],f32>
  }
}
