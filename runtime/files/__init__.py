"""The doors for files: reading what a user gave, writing whole or not at all, and what a file is."""
