"""`bilayer-serve`: a real server in a process of its own, asked by HTTP."""

import asyncio
import gc
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import golden
from tests.runtime.conftest import CASE

pytest.importorskip("fastapi", reason="extra [serve]")
pytest.importorskip("multipart", reason="extra [serve]")

from starlette.requests import Request

from bilayer.export.serve.cache import Cache, own_folder
from bilayer.export.serve.options import ServeOptions
from bilayer.export.serve.request import RequestError
from bilayer.export.serve.service import Service
from bilayer.export.serve.work import Made, pack
from bilayer.export.serve.workers import Sent, WorkerPool
from bilayer.runtime.errors import OutputError

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


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("cache"), "--body", "1", "--read-seconds", "1", "--queue", "1") as server:
        yield server


@pytest.fixture(scope="module")
def photo():
    return photo_file()


@pytest.fixture(scope="module")
def landmarks():
    return landmarks_file()


def test_a_photo_becomes_the_bundle_of_a_single_export(server, photo, landmarks, tmp_path):
    from bilayer.export.options import ExportOptions
    from bilayer.export.pipeline import export_avatar

    answer, content = server.post(photo, landmarks, mask="false")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/zip"), content
    (tmp_path / "photo").write_bytes(photo)
    (tmp_path / "points.npy").write_bytes(landmarks)
    out = tmp_path / "out"
    options = ExportOptions(
        tmp_path / "photo", out / "avatar.dlc", "none", golden.CASE_A / "runs", tmp_path / "points.npy", mask=False
    )
    export_avatar(options)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            path.name: path.read_bytes() for path in out.iterdir()
        }
    again, same = server.post(photo, landmarks, mask="false")
    assert same == content
    key = again.headers["Location"]
    assert server.ask(key)[1] == content
    assert server.ask(f"{key}/avatar.onnx")[1] == (out / "avatar.onnx").read_bytes()
    numbers = server.ask("/metrics")[1].decode()
    assert 'bilayer_requests_total{result="made"} 1.0' in numbers
    assert 'bilayer_requests_total{result="cached"} 1.0' in numbers
    assert f"bilayer_cache_bytes {float(len(content))}" in numbers
    assert not list((server.cache / "work").iterdir())  # the photo is gone


def test_what_the_command_would_log_is_the_zips_comment(server, landmarks):
    file = io.BytesIO()
    Image.fromarray(CASE["source_image"][::-1]).save(file, "PNG", icc_profile=b"no profile")
    answer, content = server.post(file.getvalue(), landmarks, mask="false")
    assert answer.status == 200, content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert "photo: its colour profile is damaged; colours taken as sRGB" in archive.comment.decode().splitlines()


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({"body": b"no picture", "Content_Type": "image/png"}, 422, "photo: expected a photo"),
        ({"body": b"", "Content_Type": "image/png"}, 422, "found nothing"),
        ({"body": b"{}", "Content_Type": "application/json"}, 415, "application/json"),
        ({"body": b"x", "Content_Type": "image/png", "path": "/avatars?size=many"}, 422, "size"),
        ({"body": b"x", "Content_Type": "image/png", "path": "/avatars?checkpoint=/etc/passwd"}, 422, "checkpoint"),
        ({"body": b"x" * (1 << 20 | 1), "Content_Type": "image/png"}, 413, "1048576 bytes"),
        ({"body": b"--x\r\n", "Content_Type": "multipart/form-data; boundary=x"}, 422, "found nothing"),
        ({"body": b"zzz", "Content_Type": "multipart/form-data; boundary=x"}, 400, "form"),
        ({"body": b"zzz", "Content_Type": "multipart/form-data"}, 400, "form"),
        ({"body": b"x", "Content_Type": "image/png", "token": "another"}, 401, "Bearer"),
        (broken_text("utf-7", "+2AA-", file=True), 422, "?: no such file"),
        (broken_text("unicode_escape", "\\ud800", file=True), 422, "?: no such file"),
        (broken_text("utf-7", "+2AA-"), 422, "?: unknown"),
        (broken_text("undefined", "x"), 400, "form"),
        (broken_text("no such", "x"), 422, "unknown"),
        ({"path": "/avatars/" + "0" * 64}, 404, "no avatar"),
        ({"path": "/avatars/" + "0" * 64 + "/"}, 404, "Not Found"),
        ({"path": "/avatars/../../etc/passwd"}, 404, "Not Found"),
        ({"path": "/docs"}, 404, "Not Found"),
    ],
)
def test_what_cannot_be_answered_is_told_in_json(server, given, status, says):
    got, told = server.refused(**given)
    assert got == status, told
    assert says in told["message"]


def test_a_body_without_a_length_is_counted(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/avatars")
    for name, value in (("Authorization", f"Bearer {TOKEN}"), ("Content-Type", "image/png")):
        connection.putheader(name, value)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    for _ in range(17):
        connection.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
    status = connection.getresponse().status
    connection.close()
    assert status == 413


def test_a_slow_body_is_given_up(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "image/png", "Content-Length": "100"}
    connection.request("POST", "/avatars", None, headers)
    connection.send(b"x")
    status = connection.getresponse().status
    connection.close()
    assert status == 408


def test_a_full_queue_says_when_to_come_again_and_a_killed_worker_is_replaced(server, photo, landmarks):
    (worker,) = server.workers()
    os.kill(worker, signal.SIGSTOP)
    answers = []
    threads = [
        threading.Thread(
            target=lambda size: answers.append(server.post(photo, landmarks, mask="false", size=size)), args=(size,)
        )
        for size in (32, 48)
    ]
    for thread in threads:
        thread.start()
    for _ in range(200):
        if "bilayer_waiting 2.0" in server.ask("/metrics")[1].decode():
            break
        time.sleep(0.05)
    busy, told = server.post(photo, landmarks, mask="false", size=40)
    assert busy.status == 429, told
    assert int(busy.headers["Retry-After"]) >= 1
    os.kill(worker, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert {answer.status for answer, _ in answers} <= {200, 503}
    assert server.post(photo, landmarks, mask="false", size=40)[0].status == 200
    assert server.workers() != [worker]


def test_a_process_that_is_killed_while_it_does_nothing_is_replaced(server, photo, landmarks):
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    time.sleep(1)  # until the pool has seen it
    assert server.post(photo, landmarks, mask="false", size=64)[0].status == 200


def test_the_description_has_the_options(server):
    described = json.loads(server.ask("/openapi.json")[1])
    assert described["info"]["version"] == version("bilayer")
    asked = described["paths"]["/avatars"]["post"]
    assert {"face", "mask", "size"} <= {parameter["name"] for parameter in asked["parameters"]}
    assert {"413", "422", "429", "504"} <= set(asked["responses"])


def test_too_long_is_504_and_sigterm_ends_all_processes(tmp_path, photo, landmarks):
    with serving(tmp_path / "cache", "--seconds", "0.1") as server:
        answer, content = server.post(photo, landmarks, mask="false")
        assert answer.status == 504, content
        assert "0.1 s" in json.loads(content)["message"]
        answer, _ = server.ask(body=b"--B\r\n\0: 1\r\n\r\n", Content_Type="multipart/form-data; boundary=B")
        assert answer.status == 400
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
        workers = server.workers()
        server.process.terminate()
        assert server.process.wait(60) == 128 + signal.SIGTERM
        assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
        assert not (tmp_path / "cache/work").exists()
        assert server.process.stderr.read() == "ready: the checkpoint is loaded\n"  # nothing that clients did


def test_without_a_token_pages_of_other_hosts_are_refused(tmp_path):
    with serving(tmp_path / "cache", token="") as server:
        for host in ("127.0.0.1", "localhost:99", "[::1]:8000", "LOCALHOST"):
            assert server.ask("/metrics", Host=host)[0].status == 200, host
        assert server.ask("/metrics", Origin="http://localhost:3000")[0].status == 200
        for host in ("elsewhere.example", "127.0.0.1.example", "[::1", "[", "a[b]c", "[v9.x", "", "\xff"):
            assert server.refused("/metrics", Host=host)[0] in (400, 403), host
        for origin in ("http://elsewhere.example", "null", "http://[", "", "//[::1", "http://[localhost]"):
            assert server.refused("/metrics", Origin=origin)[0] == 403, origin
        assert server.ask("/health/live", Host="[", Origin="http://[")[0].status == 200


class SlowPool(WorkerPool):
    """Whose one process makes every avatar the same, once it is let."""

    ready = True

    def __init__(self, work):
        super().__init__(ServeOptions(workers=1, queue=0), work, None)
        self.let = asyncio.Event()

    async def _made(self, options):
        await self.let.wait()
        return Made(b"zip", {})


def request_of(photo):
    async def receive():
        return {"type": "http.request", "body": bytes(photo), "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/avatars", "query_string": b"",
             "headers": [(b"content-type", b"image/png")]}  # fmt: skip
    return Request(scope, receive)


def test_however_many_wait_for_an_avatar_its_photo_is_held_once(tmp_path):
    async def ask():
        pool = SlowPool(tmp_path)
        service = Service(ServeOptions(), pool, Cache(tmp_path, 0))
        asked = [asyncio.create_task(service.avatar(request_of(b"the same photo"))) for _ in range(12)]
        await asyncio.sleep(1)  # until all have read, and wait
        held = sum(type(one) is Sent for one in gc.get_objects())
        with pytest.raises(RequestError, match="all processes are busy"):
            await service.avatar(request_of(b"another photo"))
        pool.let.set()
        return held, await asyncio.gather(*asked)

    held, answers = asyncio.run(ask())
    assert {content for _, content in answers} == {b"zip"}
    assert held == 1


@pytest.mark.parametrize(
    ("options", "token", "code", "says"),
    [
        (("--host", "0.0.0.0"), "", 2, "is not loopback"),
        ((), "short", 3, "found 5"),
        (("--checkpoint", "nowhere"), TOKEN, 3, "nowhere"),
        (("--host", "\xe4" * 70), TOKEN, 3, "give --host an address of this machine"),
        (("--seconds", "nan"), TOKEN, 2, "nan is no number"),
    ],
)
def test_what_it_does_not_start_with(options, token, code, says, tmp_path):
    command = [sys.executable, "-m", "bilayer.export.serve.cli", "--port", "0", "--cache", str(tmp_path), *options]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"BILAYER_TOKEN": token}, timeout=60
    )
    assert ended.returncode == code, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def key(number):
    return f"{number:064x}"


def test_the_cache_forgets_the_least_lately_used_and_outlives_its_process(tmp_path):
    cache = Cache(tmp_path, 250)
    for number in range(2):
        cache.put(key(number), bytes(100))
        os.utime(tmp_path / f"{key(number)}.zip", ns=(number, number))
    assert cache.get(key(0)) == bytes(100)  # now the later used
    cache.put(key(2), bytes(100))
    assert (cache.get(key(1)), cache.size) == (None, 200)
    cache.put(key(3), bytes(251))
    assert cache.get(key(3)) is None
    (tmp_path / "other.zip").write_bytes(bytes(1000))  # of somebody else
    opened = Cache(tmp_path, 150)
    assert (opened.size, opened.get(key(2))) == (100, bytes(100))
    (tmp_path / f"{key(2)}.zip").unlink()
    assert (opened.get(key(2)), opened.size) == (None, 0)


def test_a_folder_is_one_services_and_what_a_killed_one_left_of_photos_goes(tmp_path):
    (tmp_path / "work/request").mkdir(parents=True)
    (tmp_path / "work/request/photo").write_bytes(b"face")
    (tmp_path / "lock").touch()
    with own_folder(tmp_path) as (_, work):
        assert not list(work.iterdir())
        with pytest.raises(OutputError, match="another bilayer-serve"), own_folder(tmp_path):
            pass


@pytest.mark.parametrize("name", ["work/thesis.txt", "notes.txt", "avatars.txt", "src/main.py"])
def test_a_folder_of_somebody_else_is_left_as_it_is(name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("years of work")
    tmp_path.chmod(0o755)
    with pytest.raises(OutputError, match="holds other files"), own_folder(tmp_path):
        pass
    assert (tmp_path / name).read_text() == "years of work"
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_the_same_files_are_the_same_zip(tmp_path):
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    first = pack(tmp_path, ["odd"])
    os.utime(tmp_path / "a", (1, 1))
    assert pack(tmp_path, ["odd"]) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert (archive.namelist(), archive.comment) == (["a", "b"], b"odd")
