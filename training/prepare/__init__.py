"""Training data from videos and from synthetic heads."""
