module {
  func.func private @loop_0(%arg0: memref<4x8xf32> {llvm.noalias}) {
    %c0 = arith.constant 0 : index
    %c4 = arith.constant 4 : index
    %c0_0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c8 = arith.constant 8 : index
    %cst = arith.constant 1.000000e+00 : f32
    %block_id_x = gpu.block_id x
    %c32 = arith.constant 32 : index
    %0 = arith.muli %block_id_x, %c32 : index
    %thread_id_x = gpu.thread_id x
    %1 = arith.addi %0, %thread_id_x : index
    %c32_1 = arith.constant 32 : index
    %2 = arith.cmpi ult, %1, %c32_1 : index
    scf.if %2 {
      %c8_2 = arith.constant 8 : index
      %3 = arith.remui %1, %c8_2 : index
      %c8_3 = arith.constant 8 : index
      %4 = arith.divui %1, %c8_3 : index
      %c4_4 = arith.constant 4 : index
      %5 = arith.remui %4, %c4_4 : index
      %c4_5 = arith.constant 4 : index
      %6 = arith.divui %4, %c4_5 : index
      %c0_6 = arith.constant 0 : index
      %c1_7 = arith.constant 1 : index
      %7 = arith.muli %5, %c1_7 : index
      %8 = arith.addi %c0_6, %7 : index
      %c0_8 = arith.constant 0 : index
      %c1_9 = arith.constant 1 : index
      %9 = arith.muli %3, %c1_9 : index
      %10 = arith.addi %c0_8, %9 : index
      memref.store %cst, %arg0[%8, %10] : memref<4x8xf32>
    }
    return
  }
  func.func @main(%arg0: memref<4x8xf32>) {
    %c0 = arith.constant 0 : index
    %c4 = arith.constant 4 : index
    call @loop_0(%arg0) {block = array<i64: 32>, grid = array<i64: 1>, layer = "fill"} : (memref<4x8xf32>) -> ()
    return
  }
}
