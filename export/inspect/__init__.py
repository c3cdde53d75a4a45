"""What --inspect tells of a bundle or a network."""
