module {
  func.func private @loop_1(%arg0: memref<4x8xf32> {llvm.noalias}, %arg1: memref<4x8xf32> {llvm.noalias}, %arg2: index, %arg3: index) {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %c1 = arith.constant 1 : index
    scf.parallel (%arg4, %arg5) = (%arg2, %c0) to (%arg3, %c8) step (%c1, %c1) {
      %0 = memref.load %arg0[%arg4, %arg5] : memref<4x8xf32>
      %1 = arith.addf %0, %0 : f32
      memref.store %1, %arg1[%arg4, %arg5] : memref<4x8xf32>
      scf.reduce 
    }
    return
  }
  func.func private @loop_0(%arg0: memref<32xf32> {llvm.noalias}, %arg1: memref<4x8xf32> {llvm.noalias}, %arg2: index, %arg3: index) {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %c1 = arith.constant 1 : index
    scf.parallel (%arg4, %arg5) = (%arg2, %c0) to (%arg3, %c8) step (%c1, %c1) {
      %0 = affine.linearize_index disjoint [%arg4, %arg5] by (4, 8) : index
      %1 = memref.load %arg0[%0] : memref<32xf32>
      %2 = arith.mulf %1, %1 : f32
      memref.store %2, %arg1[%arg4, %arg5] : memref<4x8xf32>
      scf.reduce 
    }
    return
  }
  func.func @main(%arg0: memref<32xf32>, %arg1: memref<4x8xf32>) {
    %c4 = arith.constant 4 : index
    %c0 = arith.constant 0 : index
    %alloc = memref.alloc() : memref<4x8xf32>
    call @loop_0(%arg0, %alloc, %c0, %c4) {layer = "-", products = 160 : i64} : (memref<32xf32>, memref<4x8xf32>, index, index) -> ()
    call @loop_1(%alloc, %arg1, %c0, %c4) {layer = "-", products = 128 : i64} : (memref<4x8xf32>, memref<4x8xf32>, index, index) -> ()
    return
  }
}
