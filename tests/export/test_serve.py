"""`bilayer-serve`: a real server in a process of its own, asked by HTTP."""

import http.client
import io
import json
import os
import re
import signal
import socket
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image

from tests import golden
from tests.export.endless import endless_converter, running
from tests.export.serving import TOKEN, broken_text, landmarks_file, photo_file, serving
from tests.runtime.conftest import CASE
from tests.waiting import wait_for


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


def form(*parts, path="/avatars"):
    """A form of files (name, content), and of other fields (name, content, None)."""
    head = '--x\r\nContent-Disposition: form-data; name="{0}"{1}\r\n\r\n{2}\r\n'
    parts = [head.format(name, "" if plain else f'; filename="{name}.npy"', text) for name, text, *plain in parts]
    body = "".join([*parts, "--x--\r\n"]).encode()
    return {"body": body, "Content_Type": "multipart/form-data; boundary=x", "path": path}


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
        (form(("photo", "x"), ("landmarks", "")), 422, "photo: expected a photo"),
        (form(("photo", "x"), ("photo", "y")), 422, "photo: sent more than once"),
        (form(("photo", "x"), ("size", "256", None), ("size", "512", None)), 422, "size: sent more than once"),
        (form(("photo", "x"), ("size", "256", None), path="/avatars?size=512"), 422, "size: sent more than once"),
        (
            {"body": b"x", "Content_Type": "image/png", "path": "/avatars?size=256&size=512"},
            422,
            "size: sent more than",
        ),
        (form(("photo", "x" * 1025, None)), 400, "a field that is no file has more than 1024 bytes"),
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


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_converter_ends_with_the_service_and_its_request_is_answered(tmp_path, photo, landmarks, how):
    """The service is told twice, so that it does not wait for what is in work."""
    environment, notes = endless_converter(tmp_path)
    given = {name: text for name, text in environment.items() if os.environ.get(name) != text}
    with serving(tmp_path / "cache", "--target", "snpe-1.32", **given) as server, ThreadPoolExecutor(1) as client:
        answered = client.submit(server.post, photo, landmarks, mask="false", refine="none")
        wait_for(lambda: any(notes.iterdir()))
        server.process.send_signal(how)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGINT)
        answer, content = answered.result(60)
        assert (answer.status, json.loads(content)["message"]) == (503, "the service is ending")
        assert server.process.wait(60) in (128 + how, 128 + signal.SIGINT)
        assert running(notes) == []
        assert "Traceback" not in server.process.stderr.read()


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


def test_a_service_without_the_networks_that_find_faces_says_what_it_can_take(tmp_path, photo, landmarks):
    with serving(tmp_path / "cache", BILAYER_CACHE=str(tmp_path / "empty")) as server:
        assert server.post(photo, landmarks, mask="false")[0].status == 200
        assert server.post(photo, landmarks)[0].status == 503
        server.process.terminate()
        told = server.process.stderr.read().splitlines()
    assert told[0].startswith("warning: requests are refused but for those with landmarks and without a mask: ")
    assert re.search(r"the face networks are not set up; run: \S+ -m bilayer\.runtime\.face\.model_files$", told[0])
