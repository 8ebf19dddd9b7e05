module {
  func.func @main(%arg0: !torch.vtensor<[2,16,64],f32>) -> !torch.vtensor<[2,16,8],f32> {
    %int2 = torch.constant.int 2
    %int64 = torch.constant.int 64
    %int8 = torch.constant.int 8
    %0 = torch.prim.ListConstruct %int2, %int64, %int8 : (!torch.int, !torch.int, !torch.int) -> !torch.list<int>
    %1 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<64x8xf32>
    %2 = torch_c.from_builtin_tensor %1 : tensor<64x8xf32> -> !torch.vtensor<[64,8],f32>
    %3 = torch.aten.broadcast_to %2, %0 : !torch.vtensor<[64,8],f32>, !torch.list<int> -> !torch.vtensor<[2,64,8],f32>
    %4 = torch.aten.matmul %arg0, %2 : !torch.vtensor<[2,16,64],f32>, !torch.vtensor<[64,8],f32> -> !torch.vtensor<[2,16,8],f32>
    return %4 : !torch.vtensor<[2,16,8],f32>
  }
}
