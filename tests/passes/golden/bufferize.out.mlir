#map = affine_map<(d0) -> (d0)>
module {
  func.func @main(%arg0: memref<8xf32>, %arg1: memref<8xf32> {bufferize.result}) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> memref<8xf32>
    linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel"]} ins(%arg0, %0 : memref<8xf32>, memref<8xf32>) outs(%arg1 : memref<8xf32>) {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %1 = arith.addf %in, %in_0 : f32
      linalg.yield %1 : f32
    }
    return
  }
}
