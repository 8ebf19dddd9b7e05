#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#map2 = affine_map<(d0, d1, d2) -> (d0, d1)>
module {
  func.func @main(%arg0: tensor<1x8xi64>, %arg1: tensor<1x8x4xf32>, %arg2: tensor<16x4xf32>) -> tensor<1x8x4xf32> {
    %c0_i64 = arith.constant 0 : i64
    %c16 = arith.constant 16 : index
    %c7 = arith.constant 7 : index
    %0 = tensor.empty() : tensor<1x8x4xf32>
    linalg.generic {indexing_maps = [#map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<1x8xi64>) {
    ^bb0(%in: i64):
      %3 = arith.index_cast %in : i64 to index
      %4 = arith.cmpi slt, %3, %c16 : index
      cf.assert %4, "index must be smaller than dim size"
      %5 = linalg.index 1 : index
      %6 = arith.cmpi sle, %5, %c7 : index
      cf.assert %6, "too many"
      linalg.yield
    }
    linalg.generic {indexing_maps = [#map1], iterator_types = ["parallel", "parallel", "parallel"]} ins(%arg1 : tensor<1x8x4xf32>) {
    ^bb0(%in: f32):
      %3 = arith.cmpf ord, %in, %in : f32
      cf.assert %3, "not a number"
      linalg.yield
    }
    %1 = linalg.generic {indexing_maps = [#map2, #map1], iterator_types = ["parallel", "parallel", "parallel"]} ins(%arg0 : tensor<1x8xi64>) outs(%0 : tensor<1x8x4xf32>) {
    ^bb0(%in: i64, %out: f32):
      %3 = linalg.index 2 : index
      %4 = arith.index_cast %in : i64 to index
      %5 = arith.cmpi sle, %3, %4 : index
      cf.assert %5, "too long"
      %extracted = tensor.extract %arg2[%4, %3] : tensor<16x4xf32>
      linalg.yield %extracted : f32
    } -> tensor<1x8x4xf32>
    %2 = linalg.generic {indexing_maps = [#map2, #map1], iterator_types = ["parallel", "parallel", "parallel"]} ins(%arg0 : tensor<1x8xi64>) outs(%0 : tensor<1x8x4xf32>) {
    ^bb0(%in: i64, %out: f32):
      %3 = arith.cmpi sge, %in, %c0_i64 : i64
      cf.assert %3, "index must be larger or equal to 0"
      %4 = arith.index_cast %in : i64 to index
      %5 = linalg.index 2 : index
      %extracted = tensor.extract %arg2[%4, %5] : tensor<16x4xf32>
      linalg.yield %extracted : f32
    } -> tensor<1x8x4xf32>
    return %2 : tensor<1x8x4xf32>
  }
}
