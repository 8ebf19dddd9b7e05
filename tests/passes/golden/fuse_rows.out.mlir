#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d0, 0)>
#map2 = affine_map<(d0, d1, d2) -> (d2, d1, d0)>
#map3 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
module {
  func.func @main(%arg0: memref<12x128x64xf32>, %arg1: memref<12x128x64xf32>, %arg2: memref<64x128x12xf32>) {
    %cst = arith.constant 0xFF800000 : f32
    %alloc = memref.alloc() : memref<12x128x1xf32>
    %c0 = arith.constant 0 : index
    %c0_0 = arith.constant 0 : index
    %c12 = arith.constant 12 : index
    %c4 = arith.constant 4 : index
    %c1 = arith.constant 1 : index
    %c1_1 = arith.constant 1 : index
    scf.parallel (%arg3, %arg4) = (%c0, %c0_0) to (%c12, %c4) step (%c1, %c1_1) {
      %c32 = arith.constant 32 : index
      %0 = arith.muli %arg4, %c32 : index
      %subview = memref.subview %alloc[%arg3, %0, 0] [1, 32, 1] [1, 1, 1] : memref<12x128x1xf32> to memref<32x1xf32, strided<[1, 1], offset: ?>>
      linalg.generic {indexing_maps = [#map], iterator_types = ["parallel", "parallel"]} outs(%subview : memref<32x1xf32, strided<[1, 1], offset: ?>>) {
      ^bb0(%out: f32):
        linalg.yield %cst : f32
      }
      %subview_2 = memref.subview %arg0[%arg3, %0, 0] [1, 32, 64] [1, 1, 1] : memref<12x128x64xf32> to memref<32x64xf32, strided<[64, 1], offset: ?>>
      %subview_3 = memref.subview %alloc[%arg3, %0, 0] [1, 32, 1] [1, 1, 1] : memref<12x128x1xf32> to memref<32x1xf32, strided<[1, 1], offset: ?>>
      linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "reduction"]} ins(%subview_2 : memref<32x64xf32, strided<[64, 1], offset: ?>>) outs(%subview_3 : memref<32x1xf32, strided<[1, 1], offset: ?>>) {
      ^bb0(%in: f32, %out: f32):
        %1 = arith.maximumf %in, %out : f32
        linalg.yield %1 : f32
      }
      %subview_4 = memref.subview %arg0[%arg3, %0, 0] [1, 32, 64] [1, 1, 1] : memref<12x128x64xf32> to memref<32x64xf32, strided<[64, 1], offset: ?>>
      %subview_5 = memref.subview %alloc[%arg3, %0, 0] [1, 32, 1] [1, 1, 1] : memref<12x128x1xf32> to memref<32x1xf32, strided<[1, 1], offset: ?>>
      %subview_6 = memref.subview %arg1[%arg3, %0, 0] [1, 32, 64] [1, 1, 1] : memref<12x128x64xf32> to memref<32x64xf32, strided<[64, 1], offset: ?>>
      linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%subview_4, %subview_5 : memref<32x64xf32, strided<[64, 1], offset: ?>>, memref<32x1xf32, strided<[1, 1], offset: ?>>) outs(%subview_6 : memref<32x64xf32, strided<[64, 1], offset: ?>>) {
      ^bb0(%in: f32, %in_7: f32, %out: f32):
        %1 = arith.subf %in, %in_7 : f32
        linalg.yield %1 : f32
      }
      scf.reduce 
    }
    linalg.generic {indexing_maps = [#map2, #map3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%arg1 : memref<12x128x64xf32>) outs(%arg2 : memref<64x128x12xf32>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    }
    return
  }
}
