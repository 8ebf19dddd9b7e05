#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d1)>
module {
  func.func @main(%arg0: tensor<2x8xf32>) -> tensor<2x8xf32> {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> tensor<8xf32>
    %1 = tensor.empty() : tensor<2x8xf32>
    %extracted_slice = tensor.extract_slice %arg0[0, 0] [1, 8] [1, 1] : tensor<2x8xf32> to tensor<1x8xf32>
    %2 = tensor.empty() : tensor<1x8xf32>
    %3 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%extracted_slice, %0 : tensor<1x8xf32>, tensor<8xf32>) outs(%2 : tensor<1x8xf32>) {
    ^bb0(%in: f32, %in_2: f32, %out: f32):
      %6 = arith.mulf %in, %in_2 : f32
      linalg.yield %6 : f32
    } -> tensor<1x8xf32>
    %inserted_slice = tensor.insert_slice %3 into %1[0, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<2x8xf32>
    %extracted_slice_0 = tensor.extract_slice %arg0[1, 0] [1, 8] [1, 1] : tensor<2x8xf32> to tensor<1x8xf32>
    %4 = tensor.empty() : tensor<1x8xf32>
    %5 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%extracted_slice_0, %0 : tensor<1x8xf32>, tensor<8xf32>) outs(%4 : tensor<1x8xf32>) {
    ^bb0(%in: f32, %in_2: f32, %out: f32):
      %6 = arith.mulf %in, %in_2 : f32
      linalg.yield %6 : f32
    } -> tensor<1x8xf32>
    %inserted_slice_1 = tensor.insert_slice %5 into %inserted_slice[1, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<2x8xf32>
    return %inserted_slice_1 : tensor<2x8xf32>
  }
}
