module {
  func.func private @product_0(memref<4x8xf16>, memref<2x8xf32>, memref<2xf32>, memref<4x2xf16>)
  func.func @main(%arg0: memref<4x8xf16>, %arg1: memref<2xf32>, %arg2: memref<4x2xf16>) {
    %0 = "sparsec.weight"() {sym_name = "w"} : () -> memref<2x8xf32>
    call @product_0(%arg0, %0, %arg1, %arg2) {layer = "fc1", product = {activation = "", contraction = "sparsec.linear", operands = ["x", "w", "bias", "y"], residual_first = false, scale = 1.000000e+00 : f64}} : (memref<4x8xf16>, memref<2x8xf32>, memref<2xf32>, memref<4x2xf16>) -> ()
    return
  }
}
