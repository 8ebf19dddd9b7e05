#map = affine_map<(d0, d1) -> (d0, d1)>
func.func @main(%x: tensor<2x8xf32>) -> tensor<2x8xi8> {
  %low = arith.constant 0.0 : f32
  %high = arith.constant 255.0 : f32
  %zero = arith.constant 3.0 : f32
  %scale = arith.constant 0.5 : f32
  %reciprocal = arith.constant 2.0 : f32
  %most = arith.constant 600.0 : f32
  %e = tensor.empty() : tensor<2x8xi8>
  %y = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<2x8xf32>) outs(%e : tensor<2x8xi8>) {
  ^bb0(%in: f32, %out: i8):
    %c0 = arith.cmpf ogt, %in, %most : f32
    %c = arith.select %c0, %most, %in : f32
    %q = arith.mulf %c, %reciprocal : f32
    %n = arith.negf %q : f32
    %d = math.fma %n, %scale, %c : f32
    %b = math.fma %d, %reciprocal, %q : f32
    %o = arith.cmpf ord, %b, %b : f32
    %s = arith.select %o, %b, %q : f32
    %0 = math.roundeven %s : f32
    %1 = arith.addf %0, %zero : f32
    %2 = arith.cmpf ult, %1, %low : f32
    %3 = arith.select %2, %low, %1 : f32
    %4 = arith.cmpf ugt, %3, %high : f32
    %5 = arith.select %4, %high, %3 : f32
    %6 = arith.fptosi %5 : f32 to i32
    %7 = arith.trunci %6 : i32 to i8
    linalg.yield %7 : i8
  } -> tensor<2x8xi8>
  return %y : tensor<2x8xi8>
}
