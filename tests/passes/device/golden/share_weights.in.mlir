func.func @main(%x: !torch.vtensor<[2,16,64],f32>) -> !torch.vtensor<[2,16,8],f32> {
  %two = torch.constant.int 2
  %rows = torch.constant.int 64
  %columns = torch.constant.int 8
  %shape = torch.prim.ListConstruct %two, %rows, %columns : (!torch.int, !torch.int, !torch.int) -> !torch.list<int>
  %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<64x8xf32>
  %1 = torch_c.from_builtin_tensor %0 : tensor<64x8xf32> -> !torch.vtensor<[64,8],f32>
  %2 = torch.aten.broadcast_to %1, %shape : !torch.vtensor<[64,8],f32>, !torch.list<int> -> !torch.vtensor<[2,64,8],f32>
  %3 = torch.aten.bmm %x, %2 : !torch.vtensor<[2,16,64],f32>, !torch.vtensor<[2,64,8],f32> -> !torch.vtensor<[2,16,8],f32>
  return %3 : !torch.vtensor<[2,16,8],f32>
}
