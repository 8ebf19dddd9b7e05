func.func private @kernel(memref<32xf32>, memref<32xf32>, index, index)
func.func @main(%x: memref<32xf32>, %y: memref<32xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = memref.alloc() : memref<32xf32>
  %b = memref.alloc() : memref<32xf32>
  %c = memref.alloc() : memref<32xf32>
  func.call @kernel(%x, %a, %c0, %c1) : (memref<32xf32>, memref<32xf32>, index, index) -> ()
  func.call @kernel(%a, %b, %c0, %c1) : (memref<32xf32>, memref<32xf32>, index, index) -> ()
  func.call @kernel(%b, %c, %c0, %c1) : (memref<32xf32>, memref<32xf32>, index, index) -> ()
  func.call @kernel(%c, %y, %c0, %c1) : (memref<32xf32>, memref<32xf32>, index, index) -> ()
  return
}
