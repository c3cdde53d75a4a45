"""One measurement: sessions, poses, parity, the result."""
