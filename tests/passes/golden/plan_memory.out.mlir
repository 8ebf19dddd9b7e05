module {
  func.func private @kernel(memref<32xf32>, memref<32xf32>, index, index)
  func.func @main(%arg0: memref<32xf32>, %arg1: memref<32xf32>) attributes {arena_bytes = 256 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %alloc = memref.alloc() {arena_offset = 0 : i64} : memref<32xf32>
    %alloc_0 = memref.alloc() {arena_offset = 128 : i64} : memref<32xf32>
    %alloc_1 = memref.alloc() {arena_offset = 0 : i64} : memref<32xf32>
    call @kernel(%arg0, %alloc, %c0, %c1) : (memref<32xf32>, memref<32xf32>, index, index) -> ()
    call @kernel(%alloc, %alloc_0, %c0, %c1) : (memref<32xf32>, memref<32xf32>, index, index) -> ()
    call @kernel(%alloc_0, %alloc_1, %c0, %c1) : (memref<32xf32>, memref<32xf32>, index, index) -> ()
    call @kernel(%alloc_1, %arg1, %c0, %c1) : (memref<32xf32>, memref<32xf32>, index, index) -> ()
    return
  }
}
