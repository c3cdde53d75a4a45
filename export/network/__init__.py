"""The folded generator as a list of plain layers: made from the model, rewritten, written as ONNX, emulated."""
