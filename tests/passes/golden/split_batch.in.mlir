#all = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#rows = affine_map<(d0, d1, d2) -> (d0, d1)>
func.func @main(%x: tensor<4x4096x1024xf32>) -> (tensor<4x4096xf32>, tensor<16384x1024xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x4096x1024xf32>
  %y = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel", "parallel"]} ins(%x : tensor<4x4096x1024xf32>) outs(%e : tensor<4x4096x1024xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.maximumf %in, %zero : f32
    linalg.yield %0 : f32
  } -> tensor<4x4096x1024xf32>
  %f = tensor.empty() : tensor<4x4096xf32>
  %z = linalg.generic {indexing_maps = [#all, #rows], iterator_types = ["parallel", "parallel", "reduction"]} ins(%y : tensor<4x4096x1024xf32>) outs(%f : tensor<4x4096xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.addf %in, %out : f32
    linalg.yield %0 : f32
  } -> tensor<4x4096xf32>
  %r = tensor.collapse_shape %y [[0, 1], [2]] : tensor<4x4096x1024xf32> into tensor<16384x1024xf32>
  return %z, %r : tensor<4x4096xf32>, tensor<16384x1024xf32>
}
