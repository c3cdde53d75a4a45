"""What runs an avatar's ONNX network on this machine."""
