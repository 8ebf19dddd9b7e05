func.func @main(%x: memref<16xf32>, %y: memref<16xi32>) {
  %0 = arith.constant 0 : index
  %1 = vector.load %x[%0] : memref<16xf32>, vector<16xf32>
  %2 = math.roundeven %1 : vector<16xf32>
  %3 = arith.fptosi %2 : vector<16xf32> to vector<16xi32>
  vector.store %3, %y[%0] : memref<16xi32>, vector<16xi32>
  return
}
