"""Elementary functions as formulas over `sparsec.ir.expr`.

In: an f32 argument, scalar or vector. Out: the f32 result, within 2 ulp, of operations that LLVM vectorises, without
calls.
"""
