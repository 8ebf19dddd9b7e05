module {
  func.func private @kernel(memref<8xf32>, memref<4xf32>, index, index)
  func.func @main(%arg0: memref<2x4xf32>, %arg1: memref<4x8xf32>) {
    %subview = memref.subview %arg1[0, 0] [4, 1] [1, 1] : memref<4x8xf32> to memref<4x1xf32, strided<[8, 1]>>
    %alloc = memref.alloc() : memref<4x1xf32>
    %collapse_shape = memref.collapse_shape %arg0 [[0, 1]] : memref<2x4xf32> into memref<8xf32>
    %collapse_shape_0 = memref.collapse_shape %alloc [[0, 1]] : memref<4x1xf32> into memref<4xf32>
    %c0 = arith.constant 0 : index
    %c3 = arith.constant 3 : index
    call @kernel(%collapse_shape, %collapse_shape_0, %c0, %c3) {layer = "fc", products = 24 : i64} : (memref<8xf32>, memref<4xf32>, index, index) -> ()
    linalg.copy {cast = #linalg.type_fn<cast_signed>} ins(%alloc : memref<4x1xf32>) outs(%subview : memref<4x1xf32, strided<[8, 1]>>)
    return
  }
}
