func.func @main(%x: memref<64xi32>, %y: memref<64xi8>) {
  %0 = arith.constant 0 : index
  %least = arith.constant dense<0> : vector<64xi32>
  %most = arith.constant dense<255> : vector<64xi32>
  %1 = vector.load %x[%0] : memref<64xi32>, vector<64xi32>
  %2 = arith.maxsi %1, %least : vector<64xi32>
  %3 = arith.minsi %2, %most : vector<64xi32>
  %4 = arith.trunci %3 : vector<64xi32> to vector<64xi8>
  vector.store %4, %y[%0] : memref<64xi8>, vector<64xi8>
  return
}
