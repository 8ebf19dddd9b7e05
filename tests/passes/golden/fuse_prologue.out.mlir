#map = affine_map<(d0, d1, d2) -> (d0, d1)>
#map1 = affine_map<(d0, d1, d2) -> ()>
#map2 = affine_map<(d0, d1, d2) -> (d2)>
#map3 = affine_map<(d0, d1) -> (d0, d1)>
module {
  func.func private @copy_8e6946b7(memref<64xf32>, memref<64xi8>, memref<1xf32>, index, index)
  func.func private @copy(memref<64xi8>, memref<64xi8>, index, index)
  func.func @main(%arg0: tensor<4x16xf32>, %arg1: tensor<f32>) -> (tensor<64xi8>, tensor<64xi8>) {
    %0 = tensor.empty() : tensor<4x16xi8>
    %1 = tensor.empty() : tensor<64xi8>
    %2 = tensor.empty() : tensor<4x16xf32>
    %3 = linalg.generic {indexing_maps = [#map, #map1, #map2], iterator_types = ["reduction", "reduction", "parallel"], library_call = "@copy_8e6946b7"} ins(%arg0, %arg1 : tensor<4x16xf32>, tensor<f32>) outs(%1 : tensor<64xi8>) attrs =  {extent = 4 : i64, layer = "l", order = array<i64: 0, 2, 1>, products = 64 : i64} {
    ^bb0(%in: f32, %in_0: f32, %out: i8):
      %7 = "sparsec.linear"(%out, %in) : (i8, f32) -> i8
      %8 = "sparsec.linear"(%7, %in_0) : (i8, f32) -> i8
      linalg.yield %8 : i8
    } -> tensor<64xi8>
    %4 = linalg.generic {indexing_maps = [#map3, #map3], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<4x16xf32>) outs(%2 : tensor<4x16xf32>) {
    ^bb0(%in: f32, %out: f32):
      %7 = math.absf %in : f32
      linalg.yield %7 : f32
    } -> tensor<4x16xf32>
    %5 = linalg.generic {indexing_maps = [#map3, #map3], iterator_types = ["parallel", "parallel"]} ins(%4 : tensor<4x16xf32>) outs(%0 : tensor<4x16xi8>) {
    ^bb0(%in: f32, %out: i8):
      %7 = arith.fptosi %in : f32 to i8
      linalg.yield %7 : i8
    } -> tensor<4x16xi8>
    %6 = linalg.generic {indexing_maps = [#map, #map2], iterator_types = ["reduction", "reduction", "parallel"], library_call = "@copy"} ins(%5 : tensor<4x16xi8>) outs(%1 : tensor<64xi8>) attrs =  {extent = 4 : i64, layer = "m", order = array<i64: 0, 1>, products = 64 : i64} {
    ^bb0(%in: i8, %out: i8):
      %7 = "sparsec.linear"(%out, %in) : (i8, i8) -> i8
      linalg.yield %7 : i8
    } -> tensor<64xi8>
    return %3, %6 : tensor<64xi8>, tensor<64xi8>
  }
}
