"""`python -m bilayer.model` is `bilayer-checkpoint`."""

from bilayer.model.cli import main

main(prog_name="bilayer-checkpoint")
