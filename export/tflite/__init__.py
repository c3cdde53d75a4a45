"""TensorFlow Lite's file format: written, read, and checked against what its GPU delegate takes."""
