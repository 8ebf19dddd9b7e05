#heads = affine_map<(b, h, n, k) -> (b, n, h, k)>
#same = affine_map<(b, h, n, k) -> (b, h, n, k)>
#p = affine_map<(a, b, c, d, e, f, g, h, i, j, k, l) -> (e, f, g, h)>
#q = affine_map<(a, b, c, d, e, f, g, h, i, j, k, l) -> (i, j, k, l)>
#k = affine_map<(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) -> (i, j, k, l)>
#v = affine_map<(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) -> (m, n, o, p)>
#first = affine_map<(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) -> (e, f, g, h)>
#whole = affine_map<(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) -> (a, b, c, d)>
#y = affine_map<(a, b, c, d, e, f, g, h, i, j, k, l) -> (a, b, c, d)>
func.func @main(%x: tensor<1x16x4x8xf32>, %q: tensor<1x4x16x8xf32>) -> (tensor<1x4x16x16xf32>, tensor<1x16x4x8xf32>) {
  %e = tensor.empty() : tensor<1x4x16x8xf32>
  %t = linalg.generic {indexing_maps = [#heads, #same], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%x : tensor<1x16x4x8xf32>) outs(%e : tensor<1x4x16x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  } -> tensor<1x4x16x8xf32>
  %f = tensor.empty() : tensor<1x4x16x16xf32>
  %r = linalg.generic {indexing_maps = [#p, #q, #y], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%t, %q : tensor<1x4x16x8xf32>, tensor<1x4x16x8xf32>) outs(%f : tensor<1x4x16x16xf32>) {
  ^bb0(%in: f32, %in_0: f32, %out: f32):
    %0 = "sparsec.matmul"(%in, %in_0) {transposed} : (f32, f32) -> f32
    linalg.yield %0 : f32
  } -> tensor<1x4x16x16xf32>
  // the result, too
  %a = linalg.generic {indexing_maps = [#first, #k, #v, #whole], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction", "reduction"], library_call = "sparsec"} ins(%q, %t, %q : tensor<1x4x16x8xf32>, tensor<1x4x16x8xf32>, tensor<1x4x16x8xf32>) outs(%e : tensor<1x4x16x8xf32>) {
  ^bb0(%in: f32, %in_0: f32, %in_1: f32, %out: f32):
    %0 = "sparsec.attention"(%in, %in_0, %in_1) {scale = 0.5 : f64} : (f32, f32, f32) -> f32
    linalg.yield %0 : f32
  } -> tensor<1x4x16x8xf32>
  %g = tensor.empty() : tensor<1x16x4x8xf32>
  %b = linalg.generic {indexing_maps = [#heads, #same], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%a : tensor<1x4x16x8xf32>) outs(%g : tensor<1x16x4x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  } -> tensor<1x16x4x8xf32>
  return %r, %b : tensor<1x4x16x16xf32>, tensor<1x16x4x8xf32>
}
