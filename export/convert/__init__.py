"""The vendor's converters, run as child processes."""
