"""What all command lines share."""

import subprocess
import sys

from bilayer.runtime.console import WIDEST, table


def test_the_process_ends_without_a_search_for_cycles_and_with_its_exit_code() -> None:
    script = """
import atexit, gc, click
from bilayer.runtime.console import Command
from bilayer.runtime.errors import InputError

@click.command(cls=Command)
def main():
    raise InputError("photo.jpg: is no photo")

atexit.register(lambda: print("frozen", gc.get_freeze_count() > 0))  # runs after what main registers
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "frozen True\n", "error: photo.jpg: is no photo\n")


def test_one_long_cell_widens_no_other_line() -> None:
    long = "x" * (WIDEST + 1)
    lines = table(["name", "n"], [("short", 1), (long, 22), ("a" * WIDEST, 3)]).splitlines()
    assert lines[2] == f"| {'short':{WIDEST}} |  1 |"
    assert lines[3] == f"| {long} | 22 |"
    assert {len(line) for line in lines if long not in line} == {WIDEST + 9}
