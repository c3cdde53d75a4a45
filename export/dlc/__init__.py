"""Qualcomm's .dlc, containers v3 and v4, read and compared with the ONNX."""
