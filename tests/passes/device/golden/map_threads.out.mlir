module {
  func.func private @loop_0(%arg0: memref<4x8xf32> {llvm.noalias}) {
    %c0 = arith.constant 0 : index
    %c4 = arith.constant 4 : index
    %c0_0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c8 = arith.constant 8 : index
    %cst = arith.constant 1.000000e+00 : f32
    %block_id_x = gpu.block_id x
    %0 = arith.index_cast %block_id_x : index to i32
    %c32_i32 = arith.constant 32 : i32
    %1 = arith.muli %0, %c32_i32 : i32
    %thread_id_x = gpu.thread_id x
    %2 = arith.index_cast %thread_id_x : index to i32
    %3 = arith.addi %1, %2 : i32
    %c32_i32_1 = arith.constant 32 : i32
    %4 = arith.cmpi ult, %3, %c32_i32_1 : i32
    scf.if %4 {
      %c8_i32 = arith.constant 8 : i32
      %5 = arith.remui %3, %c8_i32 : i32
      %6 = arith.index_cast %5 : i32 to index
      %c8_i32_2 = arith.constant 8 : i32
      %7 = arith.divui %3, %c8_i32_2 : i32
      %c4_i32 = arith.constant 4 : i32
      %8 = arith.remui %7, %c4_i32 : i32
      %9 = arith.index_cast %8 : i32 to index
      %c4_i32_3 = arith.constant 4 : i32
      %10 = arith.divui %7, %c4_i32_3 : i32
      %c0_4 = arith.constant 0 : index
      %c1_5 = arith.constant 1 : index
      %11 = arith.muli %9, %c1_5 : index
      %12 = arith.addi %c0_4, %11 : index
      %c0_6 = arith.constant 0 : index
      %c1_7 = arith.constant 1 : index
      %13 = arith.muli %6, %c1_7 : index
      %14 = arith.addi %c0_6, %13 : index
      memref.store %cst, %arg0[%12, %14] : memref<4x8xf32>
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
