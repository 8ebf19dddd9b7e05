func.func @main(%x: memref<32x64xf16>, %y: memref<32x64xf32>) {
  %zero = arith.constant 0.0 : f32
  %total = memref.alloc() : memref<32xf32>
  linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} outs(%total : memref<32xf32>)  {
  ^bb0(%out: f32):
    linalg.yield %zero : f32
  }
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]} ins(%x : memref<32x64xf16>) outs(%total : memref<32xf32>)  {
  ^bb0(%in: f16, %out: f32):
    %0 = arith.extf %in : f16 to f32
    %1 = arith.addf %0, %out : f32
    linalg.yield %1 : f32
  }
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%x, %total : memref<32x64xf16>, memref<32xf32>) outs(%y : memref<32x64xf32>)  {
  ^bb0(%in: f16, %sum: f32, %out: f32):
    %0 = arith.extf %in : f16 to f32
    %1 = arith.divf %0, %sum : f32
    linalg.yield %1 : f32
  }
  return
}
