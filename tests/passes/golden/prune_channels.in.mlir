#y = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d0, d1, d2, d3)>
#x = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d4, d5, d6, d7)>
#w = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d8, d9, d10, d11)>
#b = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11) -> (d1)>
func.func @main(%x: tensor<1x3x2x2xf32>) -> tensor<1x2x2x2xf32> {
  %cst = arith.constant 0.000000e+00 : f32
  %w1 = "sparsec.weight"() {sym_name = "w1"} : () -> tensor<4x3x1x1xf32>
  %b1 = "sparsec.weight"() {sym_name = "b1"} : () -> tensor<4xf32>
  %w2 = "sparsec.weight"() {sym_name = "w2"} : () -> tensor<2x4x1x1xf32>
  %e = tensor.empty() : tensor<1x4x2x2xf32>
  %a = linalg.generic {indexing_maps = [#x, #w, #b, #y], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%x, %w1, %b1 : tensor<1x3x2x2xf32>, tensor<4x3x1x1xf32>, tensor<4xf32>) outs(%e : tensor<1x4x2x2xf32>) {
  ^bb0(%xe: f32, %we: f32, %be: f32, %out: f32):
    %0 = "sparsec.conv"(%xe, %we) {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, before = array<i64: 0, 0>, after = array<i64: 0, 0>, groups = 1 : i64} : (f32, f32) -> f32
    %1 = arith.addf %0, %be : f32
    %2 = arith.maximumf %1, %cst : f32
    linalg.yield %2 : f32
  } -> tensor<1x4x2x2xf32>
  %f = tensor.empty() : tensor<1x2x2x2xf32>
  %y = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%a, %w2 : tensor<1x4x2x2xf32>, tensor<2x4x1x1xf32>) outs(%f : tensor<1x2x2x2xf32>) {
  ^bb0(%xe: f32, %we: f32, %out: f32):
    %0 = "sparsec.conv"(%xe, %we) {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, before = array<i64: 0, 0>, after = array<i64: 0, 0>, groups = 1 : i64} : (f32, f32) -> f32
    linalg.yield %0 : f32
  } -> tensor<1x2x2x2xf32>
  return %y : tensor<1x2x2x2xf32>
}
