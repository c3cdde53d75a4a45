"""A service: a photo in, a bundle out, by HTTP."""
