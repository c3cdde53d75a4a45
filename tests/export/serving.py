"""`bilayer-serve` in a process of its own, and a client of it."""

import http.client
import io
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import golden
from tests.runtime.conftest import CASE

pytest.importorskip("fastapi", reason="extra [serve]")
pytest.importorskip("multipart", reason="extra [serve]")

TOKEN = "a-token-of-this-test"
BOUNDARY = "BOUNDARY"


class Server:
    def __init__(self, process, cache):
        self.process, self.cache = process, cache
        self.port = int(json.loads(self.line("}"))["address"].rpartition(":")[2])

    def line(self, end):
        told = ""
        while not told.rstrip().endswith(end):
            read = self.process.stdout.readline()
            assert read, told
            told += read
        return told

    def ask(self, path="/avatars", body=None, method=None, token=TOKEN, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        given = {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        connection.request(method or ("GET" if body is None else "POST"), path, body, given)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def post(self, photo, landmarks=None, **fields):
        body, kind = form(photo, landmarks, fields)
        return self.ask(body=body, Content_Type=kind)

    def refused(self, *args, **kwargs):
        answer, content = self.ask(*args, **kwargs)
        told = json.loads(content)
        assert set(told) == {"error", "field", "message", "way_out"}
        assert "Traceback" not in str(told)
        assert str(self.cache) not in str(told)
        return answer.status, told

    def workers(self):
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parts = status.read_text().rpartition(")")[2].split()
                command = (status.parent / "cmdline").read_bytes()
            except OSError:
                continue
            if int(parts[1]) == self.process.pid and b"spawn_main" in command:
                found.append(int(status.parent.name))
        return found


def photo_file():
    """The golden photo, as it is sent."""
    file = io.BytesIO()
    Image.fromarray(CASE["source_image"]).save(file, "PNG")
    return file.getvalue()


def landmarks_file():
    """Its landmarks, as they are sent: no detector."""
    file = io.BytesIO()
    np.save(file, CASE["source_landmarks"])
    return file.getvalue()


def form(photo, landmarks=None, fields=()):
    parts = []
    files = [("photo", "me.png", photo), *([("landmarks", "points.npy", landmarks)] if landmarks else [])]
    for name, file, content in files:
        head = f'Content-Disposition: form-data; name="{name}"; filename="{file}"'
        parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
    for name, value in dict(fields).items():
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()]), f"multipart/form-data; boundary={BOUNDARY}"


def broken_text(charset, name, file=False):
    """A form that has, beside a photo, a field or file whose name is what its charset makes of `name`."""
    kind = '; filename="a.jpg"' if file else ""
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"{kind}\r\n\r\nx\r\n',
             '--x\r\nContent-Disposition: form-data; name="photo"; filename="b.jpg"\r\n\r\nx\r\n--x--\r\n']  # fmt: skip
    return {"body": "".join(parts).encode(), "Content_Type": f"multipart/form-data; boundary=x; charset={charset}"}


def ready(server):
    """Waits until the checkpoint is loaded."""
    for _ in range(1200):
        if server.ask("/health/ready")[0].status == 200:
            return
        assert server.process.poll() is None
        time.sleep(0.1)


@contextmanager
def serving(cache, *options, token=TOKEN, **environment):
    command = [sys.executable, "-m", "bilayer.export.serve.cli", "--port", "0", "--cache", str(cache), "--json",
               "--target", "none", "--checkpoint", str(golden.CASE_A / "runs"), *options]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"BILAYER_TOKEN": token} | environment,
    ) as process:  # fmt: skip
        try:
            server = Server(process, cache)
            ready(server)
            yield server
        finally:
            process.kill()
