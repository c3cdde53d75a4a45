"""The service's parts by themselves: photos in memory, its cache, what it does not start with."""

import asyncio
import gc
import io
import os
import subprocess
import sys
import zipfile

import pytest

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
from tests.export.serving import TOKEN


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


def a_zip(size):
    """A zip of so many bytes, with nothing in it but a comment."""
    return b"PK\x05\x06" + bytes(16) + (size - 22).to_bytes(2, "little") + bytes(size - 22)


def test_the_cache_forgets_the_least_lately_used_and_outlives_its_process(tmp_path):
    cache = Cache(tmp_path, 250)
    for number in range(2):
        cache.put(key(number), a_zip(100))
        os.utime(tmp_path / f"{key(number)}.zip", ns=(number, number))
    assert cache.get(key(0)) == a_zip(100)  # now the later used
    cache.put(key(2), a_zip(100))
    assert (cache.get(key(1)), cache.size) == (None, 200)
    cache.put(key(3), a_zip(251))
    assert cache.get(key(3)) is None
    (tmp_path / "other.zip").write_bytes(bytes(1000))  # of somebody else
    opened = Cache(tmp_path, 150)
    assert (opened.size, opened.get(key(2))) == (100, a_zip(100))
    (tmp_path / f"{key(2)}.zip").unlink()
    assert (opened.get(key(2)), opened.size) == (None, 0)


def test_a_zip_that_the_disk_has_lost_bytes_of_is_made_again(tmp_path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("avatar.onnx", bytes(range(256)) * 64)
    whole = made.getvalue()
    cache = Cache(tmp_path, 1 << 20)
    for damaged in (b"junk", b"", whole[:-9], whole[:2000] + b"\1" + whole[2001:]):
        cache.put(key(0), whole)
        assert cache.get(key(0)) == whole
        (tmp_path / f"{key(0)}.zip").write_bytes(damaged)
        assert (cache.get(key(0)), cache.size, list(tmp_path.iterdir())) == (None, 0, [])


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
