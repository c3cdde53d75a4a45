import os
import subprocess
import sys

import pytest

from bilayer.runtime.process.native_stderr import sifting


def test_chatter_is_dropped_and_the_rest_passed_on(capfd):
    with sifting(lambda line: line.startswith(b"INFO: ")):
        os.write(2, b"INFO: hello\nWARNING: a fault\nINFO: again\n")
    os.write(2, b"INFO: after\n")
    assert capfd.readouterr().err == "WARNING: a fault\nINFO: after\n"


def test_an_error_inside_still_restores_the_descriptor(capfd):
    def fail():
        with sifting(lambda _: False):
            os.write(2, b"before the fall\n")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before the fall\nafter\n"


def test_a_closed_descriptor_is_no_error():
    code = (
        "import os; os.close(2)\n"
        "from bilayer.runtime.process.native_stderr import sifting\n"
        "with sifting(lambda _: True): print('done')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "done\n"
