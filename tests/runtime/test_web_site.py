"""The page's folder and its server: what is in them, where from, and what is refused."""

import contextlib
import gzip
import hashlib
import http.client
import io
import json
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.errors import BundleError, InputError, OutputError, ToolMissingError
from bilayer.runtime.face import model_files
from bilayer.runtime.files.released import keep
from bilayer.runtime.player import read_lids, read_texture
from bilayer.runtime.web import engines, network
from bilayer.runtime.web.engines import engine_files
from bilayer.runtime.web.server import open_server
from bilayer.runtime.web.site import ISOLATION, Site, check_site_folder, make_site, write_site
from tests.runtime.conftest import only_onnx
from tests.runtime.test_lids import give_lids


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("BILAYER_CACHE", str(folder))
    return folder


def content_of(name):
    return name.encode() * 50


@pytest.fixture
def made_up(monkeypatch):
    """Files in the place of the engines' and the face networks', so that no test of the arithmetic downloads."""

    def stand_in(file):
        content = content_of(file.name)
        return replace(file, size=len(content), sha256=hashlib.sha256(content).hexdigest())

    for name, release in engines.RELEASES.items():
        files = tuple(map(stand_in, release.files))
        monkeypatch.setitem(engines.RELEASES, name, replace(release, files=files))
    for name in ("FACE_DETECTOR", "FACE_MESH"):
        monkeypatch.setattr(model_files, name, stand_in(getattr(model_files, name)))


def archive_of(path, contents):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def good_archive(path, engine):
    files = engines.RELEASES[engine].files
    return archive_of(path, {file.member: content_of(file.name) for file in files} | {"package/else.js": b"else"})


@pytest.fixture
def prepared(tmp_path, cache, made_up):
    for engine, release in engines.RELEASES.items():
        release.extract(good_archive(tmp_path / "package.tgz", engine))
    for model in (model_files.FACE_DETECTOR, model_files.FACE_MESH):
        keep(model.path, content_of(model.path.name))


# ---- what computes ----

CACHED = {"litert": "litertjs-core-2.5.3", "ort": "onnxruntime-web-1.30.0"}


@pytest.mark.parametrize("engine", CACHED)
def test_files_go_from_the_archive_to_the_cache(tmp_path, cache, made_up, engine):
    release = engines.RELEASES[engine]
    assert not any(file.is_cached() for file in release.files)
    release.extract(good_archive(tmp_path / "package.tgz", engine))
    assert all(file.is_cached() for file in release.files)
    assert {path.parent for path in cache.rglob("*.*") if path.is_file()} == {cache / CACHED[engine]}
    for name, content in engine_files(engine, webgpu=True).items():
        whole = name.removesuffix(".gz")
        assert (gzip.decompress(content) if whole != name else content) == content_of(whole)
        assert whole.endswith(".wasm") == (whole != name)  # packed, and nothing else is
    assert not [name for name in engine_files(engine) if "jspi" in name]


def test_a_folder_of_the_users_takes_the_caches_place(tmp_path, cache, made_up):
    files = [file for file in engines.RELEASES["ort"].files if "jspi" not in file.name]
    for file in files:
        (tmp_path / file.name).write_bytes(content_of(file.name))
    assert len(engine_files("ort", tmp_path)) == 2
    (tmp_path / files[1].name).write_bytes(b"another")
    told = r"differs from the released file of onnxruntime-web@.*name the folder dist of onnxruntime-web@1\.30\.0$"
    with pytest.raises(ToolMissingError, match=told):
        engine_files("ort", tmp_path)


@pytest.mark.parametrize("engine", CACHED)
def test_what_is_missing_or_damaged_names_the_command(tmp_path, cache, made_up, engine):
    with pytest.raises(
        ToolMissingError, match=rf"not set up; run: \S*python[\d.]* -m bilayer\.runtime\.web\.engines {engine}$"
    ):
        engine_files(engine)
    release = engines.RELEASES[engine]
    release.extract(good_archive(tmp_path / "package.tgz", engine))
    release.files[1].path.write_bytes(content_of(release.files[1].name)[:-1] + b"?")
    with pytest.raises(ToolMissingError, match="differs from the released file"):
        engine_files(engine)


@pytest.mark.parametrize("spoil", ["damaged", "missing", "cut", "other"])
def test_another_archive_is_refused(tmp_path, cache, made_up, spoil):
    release = engines.RELEASES["ort"]
    contents = {file.member: content_of(file.name) for file in release.files}
    last = release.files[-1].member
    if spoil == "damaged":
        contents[last] = contents[last][:-1] + b"?"
    if spoil == "missing":
        del contents[last]
    path = archive_of(tmp_path / "ort.tgz", contents)
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:60])
    if spoil == "other":
        path.write_bytes(b"PK\x03\x04" + bytes(200))
    with pytest.raises(InputError, match=r"ort\.tgz: .*onnxruntime-web@1\.30\.0"):
        release.extract(path)
    assert not release.files[-1].is_cached()


def test_without_npm_the_way_out_is_told(tmp_path, monkeypatch):
    environment = {"BILAYER_CACHE": str(tmp_path), "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "bilayer.runtime.web.engines"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 5
    assert "npm is not installed; where there is npm and a network: npm pack @litertjs/core@2.5.3" in done.stderr
    done = subprocess.run(
        [*command, "--package", __file__], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert "name it: litert or ort" in done.stderr


def test_the_loader_in_the_page_is_of_the_same_release():
    lock = json.loads((Path(__file__).parents[2] / "web" / "package-lock.json").read_text(encoding="utf-8"))
    assert engines.LITERT.source == f"@litertjs/core@{lock['packages']['node_modules/@litertjs/core']['version']}"


# ---- the folder ----


def test_a_site_holds_the_page_and_an_avatar_without_its_dlc(prepared, plain):
    site = make_site(only_onnx(read_bundle(plain)))
    assert json.loads(site.files["page.json"]) == {
        "avatar": "avatar/avatar.json", "engine": "ort", "runtime": "ort/", "webgpu": False, "face": "face/",
    }  # fmt: skip
    page = {"index.html", "page.js", "page.css", "bilayer.js", "litert.js", "avatar.schema.json", "APACHE-2.0.txt"}
    assert page <= set(site.files)
    assert {name for name in site.files if name.startswith(("ort/", "litert/"))} == {
        "ort/ort.wasm.bundle.min.mjs", "ort/ort-wasm-simd-threaded.wasm.gz",
    }  # fmt: skip
    assert site.parts["page"] < 300_000
    assert site.notes == ()
    assert sum(site.parts.values()) == sum(map(len, site.files.values()))


def test_what_is_written_is_a_bundle_again(prepared, plain, tmp_path):
    write_site(make_site(read_bundle(plain), webgpu=True), tmp_path / "site")
    written = read_bundle(tmp_path / "site" / "avatar")
    expected = read_bundle(plain).contract
    assert {file.name for file in written.contract.files.present} == {
        file.name for file in (expected.files.onnx, expected.files.texture, expected.files.preview)
    }
    assert replace(written.contract, files=expected.files, dlc=expected.dlc) == expected
    assert len(list((tmp_path / "site" / "ort").iterdir())) == 4
    headers = (tmp_path / "site" / "_headers").read_text()
    assert all(f"{name}: {value}" in headers for name, value in ISOLATION.items())


def test_a_texture_that_no_player_would_draw_is_in_no_page(prepared, editable):
    folder = editable(lambda contract: None)
    texture = read_texture(read_bundle(folder))
    texture[5, 5, 0] = np.nan
    save_file({"texture": texture}, folder / "avatar.safetensors")
    with pytest.raises(BundleError, match="texture: holds values that are not finite"):
        make_site(read_bundle(editable(lambda contract: None)), webgpu=True)


def test_an_avatars_lids_come_with_it(prepared, plain, tmp_path):
    bundle = read_bundle(give_lids(shutil.copytree(plain, tmp_path / "blinking")))
    write_site(make_site(bundle, webgpu=True), tmp_path / "site")
    written = read_bundle(tmp_path / "site" / "avatar")
    texture = read_texture(bundle)
    assert read_lids(written, texture) is not None
    assert (written.contract.lids, written.contract.files.lids) == (bundle.contract.lids, bundle.contract.files.lids)


@pytest.mark.parametrize(("least", "role"), [(0.9, "tflite_fp16"), (1.0, "tflite")], ids=["alike", "exact"])
def test_an_avatar_with_a_tflite_comes_with_litert_and_without_its_onnx(prepared, plain, monkeypatch, least, role):
    """The smaller one where its frames are the same; those of random numbers in FP16 are alike at most."""
    monkeypatch.setattr(network, "LEAST_SAME", least)
    site = make_site(read_bundle(plain))
    settings = json.loads(site.files["page.json"])
    assert (settings["engine"], settings["runtime"]) == ("litert", "litert/")
    file = {"tflite_fp16": "avatar.fp16.tflite", "tflite": "avatar.tflite"}[role]
    files = {"avatar.json", "avatar.safetensors", "avatar.preview.png", file}
    assert {name for name in site.files if name.startswith("avatar/")} == {f"avatar/{name}" for name in files}
    assert not [name for name in site.files if name.startswith("ort/")]
    assert len([name for name in site.files if name.startswith("litert/")]) == 6
    named = json.loads(site.files["avatar/avatar.json"])["files"]
    assert {role for role in named if named[role]} == {"onnx", role, "texture", "preview"}
    graphics = make_site(read_bundle(plain), webgpu=True)  # which ONNX Runtime is for
    assert json.loads(graphics.files["page.json"])["engine"] == "ort"
    assert "avatar/avatar.onnx" in graphics.files
    assert json.loads(make_site(None).files["page.json"])["engine"] == "ort"  # that reads whatever is dropped


def test_a_page_takes_the_place_of_a_page_and_of_nothing_else(tmp_path):
    target = tmp_path / "site"
    write_site(Site({"page.json": b"{}", "old/file": b"1"}), target)
    write_site(Site({"page.json": b"{}", "new/file": b"2"}), target)
    assert {path.name for path in target.iterdir()} == {"page.json", "new"}
    (tmp_path / "home").mkdir()
    write_site(Site({"page.json": b"{}"}), tmp_path / "home")  # an empty folder
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="holds other files"):
        write_site(Site({"page.json": b"{}"}), tmp_path / "mine")
    with pytest.raises(OutputError, match="is a file"):
        write_site(Site({"page.json": b"{}"}), tmp_path / "mine" / "letter.txt")
    with pytest.raises(OutputError, match="is a file and not a folder; name another place"):
        check_site_folder(tmp_path / "mine" / "letter.txt" / "site")  # before the work that ends there
    assert {path.name for path in tmp_path.iterdir()} == {"site", "home", "mine"}  # no drafts


def test_without_the_face_networks_the_page_says_so(prepared):
    model_files.FACE_MESH.path.unlink()
    site = make_site(None)
    assert json.loads(site.files["page.json"])["face"] is None
    assert json.loads(site.files["page.json"])["avatar"] is None
    assert "no camera and no video" in site.notes[0]


# ---- the server ----


@contextlib.contextmanager
def serving(site, host="127.0.0.1"):
    with open_server(site, host) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def get(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def test_the_server_has_the_site_and_nothing_else():
    site = Site({"index.html": b"<p>", "a b.mjs": b"1", "ort/x.wasm": b"2"})
    with serving(site) as port:
        status, headers, content = get(port, "/")
        assert (status, content, headers["Content-Type"]) == (200, b"<p>", "text/html; charset=utf-8")
        assert ISOLATION.items() <= headers.items()
        assert get(port, "/a%20b.mjs?x=1")[1]["Content-Type"] == "text/javascript"
        assert get(port, "/ort/x.wasm", "HEAD")[0::2] == (200, b"")
        for path in ("/../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd", "/ort", "/ort/", "/nothing", "/%00"):
            assert get(port, path)[0] == 404, path
        assert get(port, "/", "POST")[0] == 501


def test_a_page_of_another_name_may_not_look_in():
    with serving(Site({"index.html": b"<p>"})) as port:
        assert get(port, "/", Host="evil.example")[0] == 403
        for host in (f"localhost:{port}", "127.0.0.1", "[::1]:80"):
            assert get(port, "/", Host=host)[0] == 200
    with serving(Site({"index.html": b"<p>"}), "0.0.0.0") as port:
        assert get(port, "/", Host="my-machine")[0] == 200


@pytest.mark.parametrize("lines", [b"GET / HTTP/1.1\r\nHost: [\r\n", b"GET http://[/ HTTP/1.1\r\nHost: localhost\r\n"])
def test_what_is_no_request_is_answered_so(lines):
    with serving(Site({"index.html": b"<p>"})) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(lines + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_an_address_that_is_taken_is_told():
    with serving(Site({})) as port, pytest.raises(OutputError, match=f"{port}: cannot serve there.*try --port 0"):
        open_server(Site({}), port=port)


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1", "\xe4" * 70])
def test_an_address_that_is_not_this_machines_is_told(host):
    with pytest.raises(OutputError, match="give --host an address of this machine"):
        open_server(Site({}), host)


@pytest.fixture(scope="module")
def plain(exported):
    return exported.folder
