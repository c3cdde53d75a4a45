"""`bilayer-export` from and to an S3 store, which is moto's server: what is refused, slow, missing or killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from bilayer.export.bulk.items import find_items
from bilayer.runtime.errors import InputError
from tests.export.bulk.bulk_photos import NAMES, USUAL, manifest, singles, write_photos

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
werkzeug_app = pytest.importorskip("moto.moto_server.werkzeug_app", reason="moto and flask are not installed")


class Unreliable:
    """A store in which some keys are denied, and the first request of some is told to come again."""

    def __init__(self, app):
        self.app, self.denied, self.slow, self.asked = app, (), (), Counter()

    def __call__(self, environ, start_response):
        path, way = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        self.asked[way, path] += 1
        if any(word in path for word in self.denied):
            return self._refuse(start_response, way, "403 Forbidden", "AccessDenied")
        if any(word in path for word in self.slow) and self.asked[way, path] == 1:
            return self._refuse(start_response, way, "503 Service Unavailable", "SlowDown")
        return self.app(environ, start_response)

    def _refuse(self, start_response, way, status, code):
        body = b"" if way == "HEAD" else f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def store(monkeypatch):
    """The server, and a file system to look into it: buckets `photos` and `avatars`, both empty."""
    from werkzeug.serving import make_server

    app = Unreliable(werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    fs = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    for bucket in ("photos", "avatars"):
        if not fs.exists(bucket):
            fs.mkdir(bucket)
        elif fs.ls(bucket):
            fs.rm(fs.ls(bucket), recursive=True)
    try:
        yield app, fs
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "here")


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    return singles(folder, tmp_path_factory.mktemp("alone"))


def start(place, out, *more):
    command = [sys.executable, "-m", "bilayer.export", place, "--out", out, "--jobs", 1, *more]
    command += ["--checkpoint", USUAL.checkpoint, "--target", "none", "--no-mask"]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return process.returncode, err


def found(fs, name):
    return {path.rpartition("/")[2]: fs.cat_file(path) for path in fs.ls(f"avatars/run/{name}", detail=False)}


def fill(fs, folder, names=NAMES):
    for path in folder.iterdir():
        fs.put_file(str(path), f"photos/in/{path.name}")
    rows = [{"photo": f"s3://photos/in/{name}.png", "landmarks": "face.npy"} for name in names]
    fs.pipe_file("photos/in/all.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


def rows(fs):
    return {row["name"]: row for row in map(json.loads, fs.cat_file("avatars/run/results.jsonl").splitlines())}


def test_what_fails_is_a_row_and_the_rest_is_what_a_single_export_gives(store, folder, alone):
    app, fs = store
    fill(fs, folder, (*NAMES, "gone", "denied", "empty", "broken"))
    for name, content in {"denied": b"x", "empty": b"", "broken": b"not a photo"}.items():
        fs.pipe_file(f"photos/in/{name}.png", content)
    app.denied, app.slow = ("denied.png",), ("ann", "ben.png")
    code, err = finish(start("s3://photos/in/all.jsonl", "s3://avatars/run"))
    assert code == 3
    assert "4 of 8 photos failed" in err
    assert {name: found(fs, name) for name in NAMES} == alone
    told = {name: row["error"] for name, row in rows(fs).items() if row["status"] == "failed"}
    assert told["gone"] == "s3://photos/in/gone.png: no such file"
    assert "s3://photos/in/denied.png: access denied (" in told["denied"]
    assert "empty.png" in told["empty"]
    assert "expected a photo" in told["broken"]
    assert fs.exists("avatars/run/contact-sheet.jpg")
    assert app.asked["PUT", "/avatars/run/ann/avatar.onnx"] == 2


def test_a_killed_run_goes_on_where_it_was(store, folder, alone):
    _, fs = store
    fill(fs, folder)
    process = start("s3://photos/in/all.jsonl", "s3://avatars/run")
    begun = time.monotonic()
    while not fs.exists("avatars/run/records/ann.json"):
        assert process.poll() is None
        assert time.monotonic() < begun + 60
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path["Key"]: path["LastModified"] for path in fs.ls("avatars/run/ann", detail=True)}
    code, err = finish(start("s3://photos/in/all.jsonl", "s3://avatars/run"))
    assert code == 0, err
    assert before == {path["Key"]: path["LastModified"] for path in fs.ls("avatars/run/ann", detail=True)}
    assert {name: found(fs, name) for name in NAMES} == alone
    assert {row["status"] for row in rows(fs).values()} == {"done"}


@pytest.mark.parametrize(
    ("place", "out", "message"),
    [
        ("s3://photos/in/all.jsonl", "s3://typo/run", "s3://typo/run/"),
        ("s3://photos/none.jsonl", "s3://avatars/run", "s3://photos/none.jsonl: no such file"),
        ("s3://typo/in", "s3://avatars/run", "s3://typo/in: "),
        ("s3://photos/in/all.jsonl", "s3://avatars/denied", "access denied"),
    ],
)
def test_a_place_that_is_not_there_or_denied_is_told(store, folder, place, out, message):
    app, fs = store
    fill(fs, folder, NAMES[:1])
    app.denied = ("avatars/denied",)
    code, err = finish(start(place, out))
    assert code == 3
    assert message in err
    assert not fs.exists("typo")


def test_a_folder_and_a_pattern_of_a_store(store, folder):
    _, fs = store
    fill(fs, folder)
    fs.pipe_file("photos/in/more/ann.png", b"x")
    assert [item.name for item in find_items("s3://photos/in")] == [*NAMES, "more/ann"]
    assert [item.photo for item in find_items("s3://photos/in/*n.png")] == [
        "s3://photos/in/ann.png",
        "s3://photos/in/ben.png",
    ]
    with pytest.raises(InputError, match="expected photos"):
        find_items("s3://photos/nothing")
    manifest(folder, NAMES)
