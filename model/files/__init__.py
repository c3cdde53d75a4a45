"""What is read of a checkpoint's file before it is a model: whose it is, its tensors, and whether they fit."""
