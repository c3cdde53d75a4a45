"""Frames of people on disk, and the batches made of them."""
