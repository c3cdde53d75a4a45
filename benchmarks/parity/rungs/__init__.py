"""The rungs of the ladder: everything that computes the network once more."""
