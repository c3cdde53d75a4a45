"""`python -m bilayer.android_harness` is `bilayer-device`."""

from bilayer.android_harness.cli import main

main(prog_name="bilayer-device")
