"""Files of networks as they are found: which kind, what is in them, how their numbers are stored."""
