"""A page that takes another's place, killed at each call by which it changes files: one of the two is there, whole."""

import os
import signal
import subprocess
import sys

import pytest

from bilayer.runtime.web.site import Site, write_site
from tests.interrupted.interruption import compile_library

FORMER = Site({"page.json": b"{}", "ort/former": b"1"})
NEXT = Site({"page.json": b"{ }", "index.html": b"<p>", "litert/next": b"2"})
WRITE = f"""
from pathlib import Path
from bilayer.runtime.web.site import Site, write_site
write_site(Site({NEXT.files!r}), Path("out/site"))"""


def files_of(site):
    found = (path for path in site.rglob("*") if path.is_file())
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in found}


@pytest.mark.skipif(
    sys.platform != "linux", reason="the library is for Linux, where two names are exchanged in one step"
)
def test_a_killed_page_leaves_the_former_or_the_next(tmp_path):
    library = compile_library(tmp_path)
    if library is None:
        pytest.skip("no C compiler: apt install gcc")
    counter, site = tmp_path / "count", tmp_path / "out" / "site"

    def write(number):
        """The former page, and the next one over it, killed at that call; how it ended, and how many calls it made."""
        write_site(FORMER, site)
        counter.write_bytes(bytes(8))
        fault = {"PLACES": tmp_path / "out", "NUMBER": number, "ACTION": "kill", "COUNT": counter}
        armed = {f"INTERPOSED_{name}": str(value) for name, value in fault.items()}
        environment = {**os.environ, **armed, "LD_PRELOAD": str(library)}
        command = [sys.executable, "-c", WRITE]
        done = subprocess.run(command, cwd=tmp_path, env=environment, start_new_session=True, check=False)
        return done.returncode, int.from_bytes(counter.read_bytes(), "little")

    code, calls = write(0)
    assert code == 0
    met = []
    for number in [*range(1, calls - 12, 4), *range(calls - 12, calls + 1)]:  # the switch is among the last ones
        assert write(number)[0] == -signal.SIGKILL
        found = files_of(site)
        assert found in (FORMER.files, NEXT.files), number
        met.append(found == NEXT.files)
    assert met == sorted(met)  # once the next is there, it stays
    assert {*met} == {False, True}
    assert write(0)[0] == 0
    assert [path.name for path in site.parent.iterdir()] == ["site"]  # the drafts of those before are swept
