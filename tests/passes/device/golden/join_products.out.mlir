#map = affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d4, d5)>
#map2 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d1)>
#map3 = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1)>
module {
  func.func @main(%arg0: tensor<4x8xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<2x8xf32>
    %1 = "sparsec.weight"() {sym_name = "v"} : () -> tensor<2x8xf32>
    %2 = "sparsec.weight"() {sym_name = "b"} : () -> tensor<2xf32>
    %3 = "sparsec.weight"() {sym_name = "c"} : () -> tensor<2xf32>
    %4 = tensor.empty() : tensor<4x2xf32>
    %5 = "sparsec.weight"() {sym_name = "w+v"} : () -> tensor<4x8xf32>
    %6 = "sparsec.weight"() {sym_name = "w+v/bias"} : () -> tensor<4xf32>
    %7 = tensor.empty() : tensor<4x4xf32>
    %8 = linalg.generic {indexing_maps = [#map, #map1, #map2, #map3], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%arg0, %5, %6 : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4xf32>) outs(%7 : tensor<4x4xf32>) {
    ^bb0(%in: f32, %in_1: f32, %in_2: f32, %out: f32):
      %10 = "sparsec.linear"(%in, %in_1) : (f32, f32) -> f32
      %11 = arith.addf %10, %in_2 : f32
      linalg.yield %11 : f32
    } -> tensor<4x4xf32>
    %extracted_slice = tensor.extract_slice %8[0, 0] [4, 2] [1, 1] : tensor<4x4xf32> to tensor<4x2xf32>
    %extracted_slice_0 = tensor.extract_slice %8[0, 2] [4, 2] [1, 1] : tensor<4x4xf32> to tensor<4x2xf32>
    %9 = tensor.empty() : tensor<4x2xf32>
    return %extracted_slice, %extracted_slice_0 : tensor<4x2xf32>, tensor<4x2xf32>
  }
}
