#same = affine_map<(d0, d1) -> (d0, d1)>
func.func @main(%x: memref<32xf32>, %y: memref<4x8xf32>) {
  %view = memref.expand_shape %x [[0, 1]] output_shape [4, 8] : memref<32xf32> into memref<4x8xf32>
  %a = memref.alloc() : memref<4x8xf32>
  linalg.generic {indexing_maps = [#same, #same], iterator_types = ["parallel", "parallel"]} ins(%view : memref<4x8xf32>) outs(%a : memref<4x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.mulf %in, %in : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#same, #same], iterator_types = ["parallel", "parallel"]} ins(%a : memref<4x8xf32>) outs(%y : memref<4x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.addf %in, %in : f32
    linalg.yield %0 : f32
  }
  return
}
