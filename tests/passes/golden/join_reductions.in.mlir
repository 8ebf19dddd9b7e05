// Two reductions of the same rows, with the start of the second between them; and one that reads what the first left.
#row = affine_map<(a, k) -> (a, k)>
#sum = affine_map<(a, k) -> (a)>
#all = affine_map<(a) -> (a)>
func.func @main(%x: memref<128x768xf32>, %least: memref<128xf32>, %greatest: memref<128xf32>, %total: memref<128xf32>) {
  %high = arith.constant 0x7F800000 : f32
  %low = arith.constant 0xFF800000 : f32
  linalg.generic {indexing_maps = [#all], iterator_types = ["parallel"]} outs(%least : memref<128xf32>) {
  ^bb0(%out: f32):
    linalg.yield %high : f32
  }
  linalg.generic {indexing_maps = [#row, #sum], iterator_types = ["parallel", "reduction"]} ins(%x : memref<128x768xf32>) outs(%least : memref<128xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.minimumf %in, %out fastmath<nsz> : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#all], iterator_types = ["parallel"]} outs(%greatest : memref<128xf32>) {
  ^bb0(%out: f32):
    linalg.yield %low : f32
  }
  linalg.generic {indexing_maps = [#row, #sum], iterator_types = ["parallel", "reduction"]} ins(%x : memref<128x768xf32>) outs(%greatest : memref<128xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.maximumf %in, %out fastmath<nsz> : f32
    linalg.yield %0 : f32
  }
  linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel"]} ins(%greatest : memref<128xf32>) outs(%total : memref<128xf32>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  }
  linalg.generic {indexing_maps = [#row, #sum], iterator_types = ["parallel", "reduction"]} ins(%x : memref<128x768xf32>) outs(%total : memref<128xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.addf %in, %out fastmath<reassoc> : f32
    linalg.yield %0 : f32
  }
  return
}
