"""Models in, torch-dialect modules out: `onnx.import_onnx` and `torch.import_torch` both return an `Imported`.

Weights never enter the module; they are in the `Imported`'s store. Nothing here knows passes, targets or the runtime.
"""
