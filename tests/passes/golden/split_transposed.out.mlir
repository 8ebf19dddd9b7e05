module {
  func.func @main(%arg0: !torch.vtensor<[1,1,4,4],f32>) -> !torch.vtensor<[1,2,8,8],f32> {
    %int0 = torch.constant.int 0
    %int1 = torch.constant.int 1
    %int2 = torch.constant.int 2
    %none = torch.constant.none
    %false = torch.constant.bool false
    %true = torch.constant.bool true
    %0 = torch.prim.ListConstruct %int0, %int0 : (!torch.int, !torch.int) -> !torch.list<int>
    %1 = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
    %2 = torch.prim.ListConstruct %int2, %int2 : (!torch.int, !torch.int) -> !torch.list<int>
    %3 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<1x2x2x2xf32>
    %4 = torch_c.from_builtin_tensor %3 : tensor<1x2x2x2xf32> -> !torch.vtensor<[1,2,2,2],f32>
    %5 = "sparsec.weight"() {sym_name = "w/phases"} : () -> tensor<8x1x1x1xf32>
    %6 = torch_c.from_builtin_tensor %5 : tensor<8x1x1x1xf32> -> !torch.vtensor<[8,1,1,1],f32>
    %int1_0 = torch.constant.int 1
    %int1_1 = torch.constant.int 1
    %7 = torch.prim.ListConstruct %int1_0, %int1_1 : (!torch.int, !torch.int) -> !torch.list<int>
    %int0_2 = torch.constant.int 0
    %int0_3 = torch.constant.int 0
    %8 = torch.prim.ListConstruct %int0_2, %int0_3 : (!torch.int, !torch.int) -> !torch.list<int>
    %none_4 = torch.constant.none
    %false_5 = torch.constant.bool false
    %int0_6 = torch.constant.int 0
    %int0_7 = torch.constant.int 0
    %9 = torch.prim.ListConstruct %int0_6, %int0_7 : (!torch.int, !torch.int) -> !torch.list<int>
    %int1_8 = torch.constant.int 1
    %10 = torch.aten.convolution %arg0, %6, %none_4, %7, %8, %7, %false_5, %9, %int1_8 : !torch.vtensor<[1,1,4,4],f32>, !torch.vtensor<[8,1,1,1],f32>, !torch.none, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[1,8,4,4],f32>
    %int1_9 = torch.constant.int 1
    %int2_10 = torch.constant.int 2
    %int2_11 = torch.constant.int 2
    %int2_12 = torch.constant.int 2
    %int4 = torch.constant.int 4
    %int4_13 = torch.constant.int 4
    %11 = torch.prim.ListConstruct %int1_9, %int2_10, %int2_11, %int2_12, %int4, %int4_13 : (!torch.int, !torch.int, !torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
    %12 = torch.aten.view %10, %11 : !torch.vtensor<[1,8,4,4],f32>, !torch.list<int> -> !torch.vtensor<[1,2,2,2,4,4],f32>
    %int0_14 = torch.constant.int 0
    %int1_15 = torch.constant.int 1
    %int4_16 = torch.constant.int 4
    %int2_17 = torch.constant.int 2
    %int5 = torch.constant.int 5
    %int3 = torch.constant.int 3
    %13 = torch.prim.ListConstruct %int0_14, %int1_15, %int4_16, %int2_17, %int5, %int3 : (!torch.int, !torch.int, !torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
    %14 = torch.aten.permute %12, %13 : !torch.vtensor<[1,2,2,2,4,4],f32>, !torch.list<int> -> !torch.vtensor<[1,2,4,2,4,2],f32>
    %int1_18 = torch.constant.int 1
    %int2_19 = torch.constant.int 2
    %int8 = torch.constant.int 8
    %int8_20 = torch.constant.int 8
    %15 = torch.prim.ListConstruct %int1_18, %int2_19, %int8, %int8_20 : (!torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
    %16 = torch.aten.view %14, %15 : !torch.vtensor<[1,2,4,2,4,2],f32>, !torch.list<int> -> !torch.vtensor<[1,2,8,8],f32>
    return %16 : !torch.vtensor<[1,2,8,8],f32>
  }
}
