"""This process and those that it starts: its environment, what native libraries print, programs that are called."""
