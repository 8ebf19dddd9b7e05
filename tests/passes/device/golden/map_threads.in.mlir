func.func private @loop_0(%x: memref<4x8xf32> {llvm.noalias}, %begin: index, %end: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %v = arith.constant 1.0 : f32
  scf.parallel (%i, %j) = (%begin, %c0) to (%end, %c8) step (%c1, %c1) {
    memref.store %v, %x[%i, %j] : memref<4x8xf32>
    scf.reduce
  }
  return
}
func.func @main(%x: memref<4x8xf32>) {
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  func.call @loop_0(%x, %c0, %c4) {layer = "fill", products = 32 : i64} : (memref<4x8xf32>, index, index) -> ()
  return
}
