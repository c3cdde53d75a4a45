"""Numbers: what is fast, what is equal, and by how much."""
