"""The page in the wheel is what `npm run build` makes of web/, to the byte, and small."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bilayer.runtime.web.site import PAGE

WEB = Path(__file__).parents[2] / "web"
NPM = shutil.which("npm")


def npm(*arguments):
    words = [str(NPM), *map(str, arguments)]
    return subprocess.run(words, cwd=WEB, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def packages():
    """The packages that the lock file names, installed where they are not."""
    if NPM is None:
        pytest.skip("npm is not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.match(r"v(\d+)", version)[1]) < 20:
        pytest.skip(f"Node.js {version.strip()}: the build needs 20 or later")
    mark = WEB / "node_modules" / ".bilayer-lock"
    lock = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    if not mark.is_file() or mark.read_text() != lock:
        done = npm("ci", "--silent")
        if done.returncode != 0:
            pytest.skip(f"the packages cannot be obtained here: {done.stderr.strip()[-200:]}")
        mark.write_text(lock)


def test_the_page_is_what_its_sources_make(packages, tmp_path):
    done = npm("run", "--silent", "build", "--", "--outDir", tmp_path, "--logLevel", "error")
    assert done.returncode == 0, done.stdout + done.stderr
    built, kept = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path, PAGE))
    assert built == kept, "build it anew: make web"


def test_the_page_is_small_and_loads_nothing_from_elsewhere():
    files = {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}
    assert sum(len(content) for content in files.values()) < 300_000
    for name in ("index.html", "page.js", "page.css", "bilayer.js"):
        assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//|url\(|fetch\([\"']http", files[name]), name


def test_the_lock_names_versions_and_hashes_but_no_addresses():
    lock = (WEB / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 5
