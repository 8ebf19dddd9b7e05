#map = affine_map<(d0, d1) -> (d0, d1)>
func.func @main(%x: tensor<2x8xf32>) -> tensor<2x8xi8> {
  %low = arith.constant 0.0 : f32
  %high = arith.constant 255.0 : f32
  %zero = arith.constant 120.0 : f32
  %scale = arith.constant 0.03125 : f32
  %other = arith.constant 0.015625 : f32
  %e = tensor.empty() : tensor<2x8xi8>
  %y = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<2x8xf32>) outs(%e : tensor<2x8xi8>) {
  ^bb0(%in: f32, %out: i8):
    %0 = math.roundeven %in : f32
    %1 = arith.addf %0, %zero : f32
    %2 = arith.cmpf ult, %1, %low : f32
    %3 = arith.select %2, %low, %1 : f32
    %4 = arith.cmpf ugt, %3, %high : f32
    %5 = arith.select %4, %high, %3 : f32
    %6 = arith.fptosi %5 : f32 to i32
    %7 = arith.trunci %6 : i32 to i8
    %8 = arith.uitofp %7 : i8 to f32
    %9 = arith.subf %8, %zero : f32
    %10 = arith.mulf %9, %scale : f32
    %11 = arith.cmpf ugt, %10, %low : f32
    %12 = arith.select %11, %10, %low : f32
    %13 = arith.divf %12, %other : f32
    %14 = math.roundeven %13 : f32
    %15 = arith.cmpf ult, %14, %low : f32
    %16 = arith.select %15, %low, %14 : f32
    %17 = arith.cmpf ugt, %16, %high : f32
    %18 = arith.select %17, %high, %16 : f32
    %19 = arith.fptosi %18 : f32 to i32
    %20 = arith.trunci %19 : i32 to i8
    linalg.yield %20 : i8
  } -> tensor<2x8xi8>
  return %y : tensor<2x8xi8>
}
