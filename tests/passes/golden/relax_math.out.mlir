#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d0, 0)>
module {
  func.func @main(%arg0: tensor<8x64xf32>) -> (tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>) {
    %cst = arith.constant 0xFF800000 : f32
    %cst_0 = arith.constant 0.000000e+00 : f32
    %0 = tensor.empty() : tensor<8x1xf32>
    %1 = tensor.empty() : tensor<8x64xf32>
    %2 = linalg.fill ins(%cst : f32) outs(%0 : tensor<8x1xf32>) -> tensor<8x1xf32>
    %3 = linalg.fill ins(%cst_0 : f32) outs(%0 : tensor<8x1xf32>) -> tensor<8x1xf32>
    %4 = linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "reduction"]} ins(%arg0 : tensor<8x64xf32>) outs(%2 : tensor<8x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %14 = arith.maximumf %in, %out : f32
      linalg.yield %14 : f32
    } -> tensor<8x1xf32>
    %5 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0, %4 : tensor<8x64xf32>, tensor<8x1xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %in_3: f32, %out: f32):
      %14 = arith.subf %in, %in_3 : f32
      %15 = math.exp %14 fastmath<afn> : f32
      linalg.yield %15 : f32
    } -> tensor<8x64xf32>
    %6 = linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "reduction"]} ins(%5 : tensor<8x64xf32>) outs(%3 : tensor<8x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %14 = arith.addf %in, %out : f32
      linalg.yield %14 : f32
    } -> tensor<8x1xf32>
    %7 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%5, %6 : tensor<8x64xf32>, tensor<8x1xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %in_3: f32, %out: f32):
      %14 = arith.divf %in, %in_3 fastmath<arcp> : f32
      linalg.yield %14 : f32
    } -> tensor<8x64xf32>
    %8 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%5, %4 : tensor<8x64xf32>, tensor<8x1xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %in_3: f32, %out: f32):
      %14 = arith.divf %in, %in_3 : f32
      linalg.yield %14 : f32
    } -> tensor<8x64xf32>
    %cst_1 = arith.constant 3.000000e+00 : f32
    %9 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<8x64xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %14 = arith.divf %in, %cst_1 fastmath<arcp> : f32
      linalg.yield %14 : f32
    } -> tensor<8x64xf32>
    %10 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<8x64xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %cst_3 = arith.constant 0.333333343 : f32
      %14 = arith.mulf %in, %cst_3 : f32
      %15 = arith.negf %14 : f32
      %16 = math.fma %15, %cst_1, %in : f32
      %17 = math.fma %16, %cst_3, %14 : f32
      %18 = arith.cmpf ord, %17, %17 : f32
      %19 = arith.select %18, %17, %14 : f32
      %20 = math.roundeven %19 : f32
      linalg.yield %20 : f32
    } -> tensor<8x64xf32>
    %cst_2 = arith.constant 1.000000e+00 : f32
    %11 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<8x64xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %14 = math.erf %in fastmath<afn> : f32
      %15 = arith.addf %14, %cst_2 : f32
      %16 = math.erf %15 : f32
      linalg.yield %16 : f32
    } -> tensor<8x64xf32>
    %12 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<8x64xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %14 = arith.mulf %in, %cst_1 fastmath<contract> : f32
      %15 = arith.addf %14, %cst_2 fastmath<contract> : f32
      %16 = arith.divf %15, %cst_1 fastmath<arcp> : f32
      %17 = math.erf %16 fastmath<afn> : f32
      %18 = arith.addf %17, %cst_2 : f32
      %19 = arith.mulf %15, %18 : f32
      linalg.yield %19 : f32
    } -> tensor<8x64xf32>
    %13 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<8x64xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %14 = arith.mulf %in, %cst_1 : f32
      %15 = arith.addf %14, %cst_2 : f32
      %16 = math.erf %15 fastmath<afn> : f32
      %17 = arith.addf %16, %cst_2 : f32
      %18 = arith.addf %15, %17 : f32
      linalg.yield %18 : f32
    } -> tensor<8x64xf32>
    return %7, %8, %9, %10, %11, %12, %13 : tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>
  }
}
