"""Asks the page's module under Node.js, as built: request -> what it computes, or how it refuses."""

import base64
import json
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from bilayer.runtime.web.site import PAGE, SCHEMA

ASK = Path(__file__).with_name("web_module.mjs")
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "avatar.json"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


@cache
def module():
    """A folder with the module and the schema beside it, as a page has them; it goes with the process."""
    folder = tempfile.TemporaryDirectory()
    for path in (PAGE / "bilayer.js", SCHEMA):
        shutil.copy(path, folder.name)
    Path(folder.name, "package.json").write_text('{"type": "module"}')
    return folder


def ask(*requests):
    """Each request's answer: {"value": ...} or {"error": class, "message": ...}."""
    sent = json.dumps(requests)
    words = ["node", ASK, module().name]
    done = subprocess.run(words, input=sent, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def value(request):
    (answer,) = ask(request)
    assert "value" in answer, answer
    return answer["value"]


def packed(content):
    return base64.b64encode(content).decode()
