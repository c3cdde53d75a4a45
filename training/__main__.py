"""`python -m bilayer.training` is `bilayer-train`, so that torchrun can start it."""

from bilayer.training.cli import main

main(prog_name="bilayer-train")
