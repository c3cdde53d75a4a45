"""The parity ladder: every way to run an avatar, compared with the truth."""
