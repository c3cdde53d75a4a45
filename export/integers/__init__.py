"""The network in integers, for a phone's NPU: calibrated, rounded, searched, and written as QDQ ONNX."""
