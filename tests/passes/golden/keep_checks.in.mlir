#row = affine_map<(d0, d1, d2) -> (d0, d1)>
#all = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
func.func @main(%numbers: tensor<1x8xi64>, %shift: tensor<1x8x4xf32>, %table: tensor<16x4xf32>) -> tensor<1x8x4xf32> {
  %zero = arith.constant 0 : i64
  %rows = arith.constant 16 : index
  %seven = arith.constant 7 : index
  %empty = tensor.empty() : tensor<1x8x4xf32>
  // only the checks of this one count, for each row, not for each of its elements
  %unread = linalg.generic {indexing_maps = [#row, #all, #all], iterator_types = ["parallel", "parallel", "parallel"]} ins(%numbers, %shift : tensor<1x8xi64>, tensor<1x8x4xf32>) outs(%empty : tensor<1x8x4xf32>) {
  ^bb0(%in: i64, %in_0: f32, %out: f32):
    %0 = arith.index_cast %in : i64 to index
    %1 = arith.cmpi slt, %0, %rows : index
    cf.assert %1, "index must be smaller than dim size"
    %2 = linalg.index 1 : index
    %3 = arith.cmpi sle, %2, %seven : index
    cf.assert %3, "too many"
    %4 = linalg.index 2 : index
    %5 = tensor.extract %table[%0, %4] : tensor<16x4xf32>
    %6 = arith.addf %5, %in_0 : f32
    linalg.yield %6 : f32
  } -> tensor<1x8x4xf32>
  // a check of each element is one of each element
  %wide = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel", "parallel"]} ins(%shift : tensor<1x8x4xf32>) outs(%empty : tensor<1x8x4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.cmpf ord, %in, %in : f32
    cf.assert %0, "not a number"
    %1 = arith.addf %in, %in : f32
    linalg.yield %1 : f32
  } -> tensor<1x8x4xf32>
  // loops that only a result tells the length of stay
  %counted = linalg.generic {indexing_maps = [#row, #all], iterator_types = ["parallel", "parallel", "parallel"]} ins(%numbers : tensor<1x8xi64>) outs(%empty : tensor<1x8x4xf32>) {
  ^bb0(%in: i64, %out: f32):
    %0 = linalg.index 2 : index
    %1 = arith.index_cast %in : i64 to index
    %2 = arith.cmpi sle, %0, %1 : index
    cf.assert %2, "too long"
    %3 = tensor.extract %table[%1, %0] : tensor<16x4xf32>
    linalg.yield %3 : f32
  } -> tensor<1x8x4xf32>
  // what is read stays
  %read = linalg.generic {indexing_maps = [#row, #all], iterator_types = ["parallel", "parallel", "parallel"]} ins(%numbers : tensor<1x8xi64>) outs(%empty : tensor<1x8x4xf32>) {
  ^bb0(%in: i64, %out: f32):
    %0 = arith.cmpi sge, %in, %zero : i64
    cf.assert %0, "index must be larger or equal to 0"
    %1 = arith.index_cast %in : i64 to index
    %2 = linalg.index 2 : index
    %3 = tensor.extract %table[%1, %2] : tensor<16x4xf32>
    linalg.yield %3 : f32
  } -> tensor<1x8x4xf32>
  return %read : tensor<1x8x4xf32>
}
