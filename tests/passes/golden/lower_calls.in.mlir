func.func private @kernel(memref<8xf32>, memref<4xf32>, index, index)
func.func @main(%x: memref<2x4xf32>, %y: memref<4x8xf32>) {
  %view = memref.subview %y[0, 0] [4, 1] [1, 1] : memref<4x8xf32> to memref<4x1xf32, strided<[8, 1]>>
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d1)>, affine_map<(d0, d1, d2, d3) -> (d2, d3)>], iterator_types = ["reduction", "reduction", "parallel", "parallel"], library_call = "@kernel"} ins(%x : memref<2x4xf32>) outs(%view : memref<4x1xf32, strided<[8, 1]>>) attrs = {order = array<i64: 0, 1>, extent = 3 : i64, products = 24 : i64, layer = "fc"} {
  ^bb0(%in: f32, %out: f32):
    %0 = "sparsec.linear"(%out, %in) : (f32, f32) -> f32
    linalg.yield %0 : f32
  }
  return
}
