"""`python -m bilayer.export` is `bilayer-export`."""

from bilayer.export.cli import main

main(prog_name="bilayer-export")
