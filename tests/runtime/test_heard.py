"""What reaches stderr of what is logged: our own words, and none of a library's."""

import io
import logging
import subprocess
import sys

import pytest

from bilayer.runtime.command.heard import heard_warnings, log_handler

LIBRARIES = ("PIL.TiffImagePlugin", "av", "bilayers", "root", "numexpr.utils")


def record(name, level=logging.ERROR):
    return logging.LogRecord(name, level, __file__, 1, "%s: is damaged", ("photo.tif",), None)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_librarys_words_are_not_printed(name):
    stream = io.StringIO()
    log_handler(stream).handle(record(name))
    assert stream.getvalue() == ""


@pytest.mark.parametrize("name", ["bilayer", "bilayer.runtime.media.photo"])
def test_ours_are(name):
    stream = io.StringIO()
    log_handler(stream).handle(record(name, logging.WARNING))
    assert stream.getvalue() == "WARNING: photo.tif: is damaged\n"


def test_who_listens_hears_ours_alone():
    with heard_warnings() as lines:
        logging.getLogger("bilayer.runtime.media.photo").warning("ours")
        logging.getLogger("PIL.TiffImagePlugin").debug("its own")
    assert lines == ["ours"]


@pytest.mark.parametrize("name", [*LIBRARIES, "bilayer.runtime.media.video"])
def test_a_command_prints_no_librarys_words(name):
    script = f"""
import logging, click
from bilayer.runtime.command.console import Command
from bilayer.runtime.errors import InputError

@click.command(cls=Command)
def main():
    logging.getLogger({name!r}).error("more samples than can be decoded")
    raise InputError("photo.tif: is no photo")

main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    ours = "more samples than can be decoded\n" if name.startswith("bilayer.") else ""
    assert (done.returncode, done.stdout, done.stderr) == (3, "", f"{ours}error: photo.tif: is no photo\n")
