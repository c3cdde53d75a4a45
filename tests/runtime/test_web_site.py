"""The page's folder and its server: what is in them, where from, and what is refused."""

import contextlib
import hashlib
import http.client
import io
import json
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace

import pytest

from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.errors import InputError, OutputError, ToolMissingError
from bilayer.runtime.face import model_files
from bilayer.runtime.web import ort
from bilayer.runtime.web.server import open_server
from bilayer.runtime.web.site import ISOLATION, Site, make_site, write_site


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("BILAYER_CACHE", str(folder))
    return folder


def content_of(name):
    return name.encode() * 50


@pytest.fixture
def made_up(monkeypatch):
    """Files in the place of ONNX Runtime's and the face networks', so that no test of the arithmetic downloads."""

    def stand_in(file, name):
        content = content_of(name)
        return replace(file, size=len(content), sha256=hashlib.sha256(content).hexdigest())

    for group in ("WASM", "WEBGPU", "ALL"):
        monkeypatch.setattr(ort, group, tuple(stand_in(file, file.name) for file in getattr(ort, group)))
    for name in ("FACE_DETECTOR", "FACE_MESH"):
        model = getattr(model_files, name)
        monkeypatch.setattr(model_files, name, stand_in(model, model.path.name))


def archive_of(path, contents):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def good_archive(path):
    return archive_of(path, {file.name: content_of(file.name) for file in ort.ALL} | {"ort.js": b"else"})


@pytest.fixture
def prepared(tmp_path, cache, made_up):
    ort.extract(good_archive(tmp_path / "ort.tgz"))
    for model in (model_files.FACE_DETECTOR, model_files.FACE_MESH):
        model_files.keep(model.path, content_of(model.path.name))


# ---- ONNX Runtime's files ----


def test_files_go_from_the_archive_to_the_cache(tmp_path, cache, made_up):
    assert not any(map(ort.is_cached, ort.ALL))
    ort.extract(good_archive(tmp_path / "ort.tgz"))
    assert all(map(ort.is_cached, ort.ALL))
    assert ort.load(webgpu=True) == {file.name: content_of(file.name) for file in ort.ALL}
    assert set(ort.load()) == {file.name for file in ort.WASM}
    assert {path.parent for path in cache.rglob("*.*") if path.is_file()} == {cache / "onnxruntime-web-1.30.0"}


def test_a_folder_of_the_users_takes_the_caches_place(tmp_path, cache, made_up):
    for file in ort.WASM:
        (tmp_path / file.name).write_bytes(content_of(file.name))
    assert len(ort.load(tmp_path)) == 2
    (tmp_path / ort.WASM[1].name).write_bytes(b"another")
    with pytest.raises(ToolMissingError, match=r"differs from the released file of onnxruntime-web@.*name the folder"):
        ort.load(tmp_path)


def test_what_is_missing_or_damaged_names_the_command(tmp_path, cache, made_up):
    with pytest.raises(ToolMissingError, match=r"not set up; run: python -m bilayer\.runtime\.web\.ort$"):
        ort.load()
    ort.extract(good_archive(tmp_path / "ort.tgz"))
    ort.WASM[1].path.write_bytes(content_of(ort.WASM[1].name)[:-1] + b"?")
    with pytest.raises(ToolMissingError, match="differs from the released file"):
        ort.load()


@pytest.mark.parametrize("spoil", ["damaged", "missing", "cut", "other"])
def test_another_archive_is_refused(tmp_path, cache, made_up, spoil):
    contents = {file.name: content_of(file.name) for file in ort.ALL}
    last = ort.ALL[-1].name
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
        ort.extract(path)
    assert not ort.is_cached(ort.ALL[-1])


def test_without_npm_the_way_out_is_told(tmp_path, monkeypatch):
    environment = {"BILAYER_CACHE": str(tmp_path), "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "bilayer.runtime.web.ort"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 5
    assert "npm is not installed; where there is npm and a network: npm pack onnxruntime-web@1.30.0" in done.stderr


# ---- the folder ----


def test_a_site_holds_the_page_and_an_avatar_without_its_dlc(prepared, plain):
    site = make_site(read_bundle(plain))
    assert json.loads(site.files["page.json"]) == {
        "avatar": "avatar/avatar.json", "runtime": "ort/", "webgpu": False, "face": "face/",
    }  # fmt: skip
    assert {"index.html", "page.js", "page.css", "bilayer.js", "avatar.schema.json", "APACHE-2.0.txt"} <= set(
        site.files
    )
    assert {name for name in site.files if name.startswith("ort/")} == {f"ort/{file.name}" for file in ort.WASM}
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


def test_an_address_that_is_taken_is_told():
    with serving(Site({})) as port, pytest.raises(OutputError, match=f"127.0.0.1:{port}: cannot serve there"):
        open_server(Site({}), port=port)


@pytest.fixture(scope="module")
def plain(exported):
    return exported.folder
