#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d0, 0)>
module {
  func.func @main(%arg0: tensor<8x64xf32>) -> (tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>) {
    %cst = arith.constant 0xFF800000 : f32
    %cst_0 = arith.constant 0.000000e+00 : f32
    %0 = tensor.empty() : tensor<8x1xf32>
    %1 = tensor.empty() : tensor<8x64xf32>
    %2 = linalg.fill ins(%cst : f32) outs(%0 : tensor<8x1xf32>) -> tensor<8x1xf32>
    %3 = linalg.fill ins(%cst_0 : f32) outs(%0 : tensor<8x1xf32>) -> tensor<8x1xf32>
    %4 = linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "reduction"]} ins(%arg0 : tensor<8x64xf32>) outs(%2 : tensor<8x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %16 = arith.maximumf %in, %out : f32
      linalg.yield %16 : f32
    } -> tensor<8x1xf32>
    %5 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0, %4 : tensor<8x64xf32>, tensor<8x1xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %in_3: f32, %out: f32):
      %16 = arith.subf %in, %in_3 : f32
      %17 = math.exp %16 fastmath<afn> : f32
      linalg.yield %17 : f32
    } -> tensor<8x64xf32>
    %6 = linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "reduction"]} ins(%5 : tensor<8x64xf32>) outs(%3 : tensor<8x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %16 = arith.addf %in, %out : f32
      linalg.yield %16 : f32
    } -> tensor<8x1xf32>
    %7 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%5, %6 : tensor<8x64xf32>, tensor<8x1xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %in_3: f32, %out: f32):
      %16 = arith.divf %in, %in_3 fastmath<arcp> : f32
      linalg.yield %16 : f32
    } -> tensor<8x64xf32>
    %8 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%5, %4 : tensor<8x64xf32>, tensor<8x1xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %in_3: f32, %out: f32):
      %16 = arith.divf %in, %in_3 : f32
      linalg.yield %16 : f32
    } -> tensor<8x64xf32>
    %cst_1 = arith.constant 3.000000e+00 : f32
    %9 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<8x64xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %16 = arith.divf %in, %cst_1 fastmath<arcp> : f32
      linalg.yield %16 : f32
    } -> tensor<8x64xf32>
    %10 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<8x64xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %cst_3 = arith.constant 0.333333343 : f32
      %16 = arith.mulf %in, %cst_3 : f32
      %17 = arith.negf %16 : f32
      %18 = math.fma %17, %cst_1, %in : f32
      %19 = math.fma %18, %cst_3, %16 : f32
      %20 = arith.cmpf ord, %19, %19 : f32
      %21 = arith.select %20, %19, %16 : f32
      %22 = math.roundeven %21 : f32
      linalg.yield %22 : f32
    } -> tensor<8x64xf32>
    %cst_2 = arith.constant 1.000000e+00 : f32
    %11 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<8x64xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %16 = math.erf %in fastmath<afn> : f32
      %17 = arith.addf %16, %cst_2 : f32
      %18 = math.erf %17 : f32
      linalg.yield %18 : f32
    } -> tensor<8x64xf32>
    %12 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<8x64xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %16 = arith.mulf %in, %cst_1 fastmath<contract> : f32
      %17 = arith.addf %16, %cst_2 fastmath<contract> : f32
      %18 = arith.divf %17, %cst_1 fastmath<arcp> : f32
      %19 = math.erf %18 fastmath<afn> : f32
      %20 = arith.addf %19, %cst_2 : f32
      %21 = arith.mulf %17, %20 : f32
      linalg.yield %21 : f32
    } -> tensor<8x64xf32>
    %13 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<8x64xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %16 = arith.mulf %in, %cst_1 : f32
      %17 = arith.addf %16, %cst_2 : f32
      %18 = math.erf %17 fastmath<afn> : f32
      %19 = arith.addf %18, %cst_2 : f32
      %20 = arith.addf %17, %19 : f32
      linalg.yield %20 : f32
    } -> tensor<8x64xf32>
    %14 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0, %6 : tensor<8x64xf32>, tensor<8x1xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %in_3: f32, %out: f32):
      %16 = math.sqrt %in_3 : f32
      %17 = arith.divf %in, %16 fastmath<arcp> : f32
      %18 = arith.mulf %17, %cst_1 : f32
      linalg.yield %18 : f32
    } -> tensor<8x64xf32>
    %15 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0, %6 : tensor<8x64xf32>, tensor<8x1xf32>) outs(%1 : tensor<8x64xf32>) {
    ^bb0(%in: f32, %in_3: f32, %out: f32):
      %16 = math.sqrt %in_3 : f32
      %17 = arith.divf %in, %16 : f32
      linalg.yield %17 : f32
    } -> tensor<8x64xf32>
    return %7, %8, %9, %10, %11, %12, %13, %14, %15 : tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>, tensor<8x64xf32>
  }
}
