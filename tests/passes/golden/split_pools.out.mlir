module {
  func.func @main(%arg0: !torch.vtensor<[1,4,7,9],f32>) -> !torch.vtensor<[1,4,4,4],f32> {
    %int0 = torch.constant.int 0
    %int1 = torch.constant.int 1
    %int2 = torch.constant.int 2
    %int3 = torch.constant.int 3
    %false = torch.constant.bool false
    %0 = torch.prim.ListConstruct %int3, %int2 : (!torch.int, !torch.int) -> !torch.list<int>
    %1 = torch.prim.ListConstruct %int2, %int2 : (!torch.int, !torch.int) -> !torch.list<int>
    %2 = torch.prim.ListConstruct %int1, %int0 : (!torch.int, !torch.int) -> !torch.list<int>
    %3 = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
    %int3_0 = torch.constant.int 3
    %int1_1 = torch.constant.int 1
    %4 = torch.prim.ListConstruct %int3_0, %int1_1 : (!torch.int, !torch.int) -> !torch.list<int>
    %int2_2 = torch.constant.int 2
    %int1_3 = torch.constant.int 1
    %5 = torch.prim.ListConstruct %int2_2, %int1_3 : (!torch.int, !torch.int) -> !torch.list<int>
    %int1_4 = torch.constant.int 1
    %int0_5 = torch.constant.int 0
    %6 = torch.prim.ListConstruct %int1_4, %int0_5 : (!torch.int, !torch.int) -> !torch.list<int>
    %int1_6 = torch.constant.int 1
    %int1_7 = torch.constant.int 1
    %7 = torch.prim.ListConstruct %int1_6, %int1_7 : (!torch.int, !torch.int) -> !torch.list<int>
    %8 = torch.aten.max_pool2d %arg0, %4, %5, %6, %7, %false : !torch.vtensor<[1,4,7,9],f32>, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool -> !torch.vtensor<[1,4,4,9],f32>
    %int1_8 = torch.constant.int 1
    %int2_9 = torch.constant.int 2
    %9 = torch.prim.ListConstruct %int1_8, %int2_9 : (!torch.int, !torch.int) -> !torch.list<int>
    %int1_10 = torch.constant.int 1
    %int2_11 = torch.constant.int 2
    %10 = torch.prim.ListConstruct %int1_10, %int2_11 : (!torch.int, !torch.int) -> !torch.list<int>
    %int0_12 = torch.constant.int 0
    %int0_13 = torch.constant.int 0
    %11 = torch.prim.ListConstruct %int0_12, %int0_13 : (!torch.int, !torch.int) -> !torch.list<int>
    %int1_14 = torch.constant.int 1
    %int1_15 = torch.constant.int 1
    %12 = torch.prim.ListConstruct %int1_14, %int1_15 : (!torch.int, !torch.int) -> !torch.list<int>
    %13 = torch.aten.max_pool2d %8, %9, %10, %11, %12, %false : !torch.vtensor<[1,4,4,9],f32>, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool -> !torch.vtensor<[1,4,4,4],f32>
    return %13 : !torch.vtensor<[1,4,4,4],f32>
  }
}
