// Codes of an argument that the copy of a layer takes; codes of what a loop makes for them alone stay with it.
module {
  module @kernels {
    func.func private @copy(%x: memref<64xi8>, %y: memref<64xi8>, %begin: index, %end: index) {
      %c1 = arith.constant 1 : index
      %c16 = arith.constant 16 : index
      scf.for %i = %begin to %end step %c1 {
        %at = arith.muli %i, %c16 : index
        %v = vector.load %x[%at] : memref<64xi8>, vector<16xi8>
        vector.store %v, %y[%at] : memref<64xi8>, vector<16xi8>
      }
      return
    }
  }
  func.func private @copy(memref<64xi8>, memref<64xi8>, index, index)
  func.func @main(%x: tensor<4x16xf32>, %scale: tensor<f32>) -> (tensor<64xi8>, tensor<64xi8>) {
    %0 = tensor.empty() : tensor<4x16xi8>
    %1 = tensor.empty() : tensor<64xi8>
    %f = tensor.empty() : tensor<4x16xf32>
    %codes = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> ()>, affine_map<(a, b) -> (a, b)>], iterator_types = ["parallel", "parallel"]} ins(%x, %scale : tensor<4x16xf32>, tensor<f32>) outs(%0 : tensor<4x16xi8>) {
    ^bb0(%in: f32, %s: f32, %out: i8):
      %a = arith.mulf %in, %s : f32
      %b = arith.fptosi %a : f32 to i8
      linalg.yield %b : i8
    } -> tensor<4x16xi8>
    %one = linalg.generic {indexing_maps = [affine_map<(a, b, c) -> (a, b)>, affine_map<(a, b, c) -> (c)>], iterator_types = ["reduction", "reduction", "parallel"], library_call = "@copy"} ins(%codes : tensor<4x16xi8>) outs(%1 : tensor<64xi8>) attrs = {extent = 4 : i64, layer = "l", order = array<i64: 0, 1>, products = 64 : i64} {
    ^bb0(%in: i8, %out: i8):
      %t = "sparsec.linear"(%out, %in) : (i8, i8) -> i8
      linalg.yield %t : i8
    } -> tensor<64xi8>
    %made = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a, b)>], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x16xf32>) outs(%f : tensor<4x16xf32>) {
    ^bb0(%in: f32, %out: f32):
      %a = math.absf %in : f32
      linalg.yield %a : f32
    } -> tensor<4x16xf32>
    %others = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a, b)>], iterator_types = ["parallel", "parallel"]} ins(%made : tensor<4x16xf32>) outs(%0 : tensor<4x16xi8>) {
    ^bb0(%in: f32, %out: i8):
      %b = arith.fptosi %in : f32 to i8
      linalg.yield %b : i8
    } -> tensor<4x16xi8>
    %two = linalg.generic {indexing_maps = [affine_map<(a, b, c) -> (a, b)>, affine_map<(a, b, c) -> (c)>], iterator_types = ["reduction", "reduction", "parallel"], library_call = "@copy"} ins(%others : tensor<4x16xi8>) outs(%1 : tensor<64xi8>) attrs = {extent = 4 : i64, layer = "m", order = array<i64: 0, 1>, products = 64 : i64} {
    ^bb0(%in: i8, %out: i8):
      %t = "sparsec.linear"(%out, %in) : (i8, i8) -> i8
      linalg.yield %t : i8
    } -> tensor<64xi8>
    return %one, %two : tensor<64xi8>, tensor<64xi8>
  }
}
