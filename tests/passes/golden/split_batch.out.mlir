#map = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#map1 = affine_map<(d0, d1, d2) -> (d0, d1)>
module {
  func.func @main(%arg0: tensor<1x4096x1024xf32>) -> (tensor<1x4096xf32>, tensor<4096x1024xf32>) attributes {samples = 4 : i64} {
    %cst = arith.constant 0.000000e+00 : f32
    %0 = tensor.empty() : tensor<1x4096x1024xf32>
    %1 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel"]} ins(%arg0 : tensor<1x4096x1024xf32>) outs(%0 : tensor<1x4096x1024xf32>) {
    ^bb0(%in: f32, %out: f32):
      %4 = arith.maximumf %in, %cst : f32
      linalg.yield %4 : f32
    } -> tensor<1x4096x1024xf32>
    %2 = tensor.empty() : tensor<1x4096xf32>
    %3 = linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "parallel", "reduction"]} ins(%1 : tensor<1x4096x1024xf32>) outs(%2 : tensor<1x4096xf32>) {
    ^bb0(%in: f32, %out: f32):
      %4 = arith.addf %in, %out : f32
      linalg.yield %4 : f32
    } -> tensor<1x4096xf32>
    %collapsed = tensor.collapse_shape %1 [[0, 1], [2]] : tensor<1x4096x1024xf32> into tensor<4096x1024xf32>
    return %3, %collapsed : tensor<1x4096xf32>, tensor<4096x1024xf32>
  }
}
