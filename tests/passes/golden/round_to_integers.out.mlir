module {
  func.func @main(%arg0: memref<16xf32>, %arg1: memref<16xi32>) {
    %c0 = arith.constant 0 : index
    %0 = vector.load %arg0[%c0] : memref<16xf32>, vector<16xf32>
    %1 = llvm.call_intrinsic "llvm.lrint"(%0) : (vector<16xf32>) -> vector<16xi32>
    vector.store %1, %arg1[%c0] : memref<16xi32>, vector<16xi32>
    return
  }
}
