module {
  func.func @main(%arg0: memref<64xi32>, %arg1: memref<64xi8>) {
    %c0 = arith.constant 0 : index
    %cst = arith.constant dense<0> : vector<64xi32>
    %cst_0 = arith.constant dense<255> : vector<64xi32>
    %0 = vector.load %arg0[%c0] : memref<64xi32>, vector<64xi32>
    %1 = arith.maxsi %0, %cst : vector<64xi32>
    %2 = arith.minsi %1, %cst_0 : vector<64xi32>
    %3 = vector.shuffle %0, %0 [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] : vector<64xi32>, vector<64xi32>
    %4 = vector.shuffle %0, %0 [16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31] : vector<64xi32>, vector<64xi32>
    %5 = vector.shuffle %0, %0 [32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47] : vector<64xi32>, vector<64xi32>
    %6 = vector.shuffle %0, %0 [48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63] : vector<64xi32>, vector<64xi32>
    %7 = llvm.call_intrinsic "llvm.x86.avx512.packssdw.512"(%3, %4) : (vector<16xi32>, vector<16xi32>) -> vector<32xi16>
    %8 = llvm.call_intrinsic "llvm.x86.avx512.packssdw.512"(%5, %6) : (vector<16xi32>, vector<16xi32>) -> vector<32xi16>
    %9 = llvm.call_intrinsic "llvm.x86.avx512.packuswb.512"(%7, %8) : (vector<32xi16>, vector<32xi16>) -> vector<64xi8>
    %10 = vector.bitcast %9 : vector<64xi8> to vector<16xi32>
    %11 = vector.shuffle %10, %10 [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15] : vector<16xi32>, vector<16xi32>
    %12 = vector.bitcast %11 : vector<16xi32> to vector<64xi8>
    vector.store %12, %arg1[%c0] : memref<64xi8>, vector<64xi8>
    return
  }
}
