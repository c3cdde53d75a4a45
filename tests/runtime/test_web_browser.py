"""The page in a real browser: Debian's Chromium, headless, its graphics emulated, a file in the place of a camera."""

import base64
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bilayer.runtime import AvatarPlayer
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.media.sources import open_pictures
from bilayer.runtime.media.writers import open_writer
from bilayer.runtime.web.server import open_server
from bilayer.runtime.web.site import make_site, write_site
from tests.runtime.conftest import POSES, only_onnx
from tests.runtime.test_anchors import anchors
from tests.runtime.test_lids import give_lids, with_eyes

DOCS = Path(__file__).parents[2] / "docs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox", "--no-first-run", "--disable-quic", "--disable-sync", "--disable-background-networking",
    "--disable-component-update", "--enable-unsafe-swiftshader", "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
)  # fmt: skip
PATIENCE = 60_000  # ms
SAMPLERS = ["cpu", "webgl2", "webgpu"]
OPENINGS = [(1, 1), (0, 0.5), (0.6, 1), (1, 1)]

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"), pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def runtime():
    """What computes in a browser, in the user's cache, fetched through npm where it is not."""
    done = subprocess.run(
        [sys.executable, "-m", "bilayer.runtime.web.engines"], capture_output=True, text=True, check=False
    )
    if done.returncode == 5:
        pytest.skip(f"what computes in a browser cannot be obtained here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def photo(astronaut_path):
    return np.asarray(Image.open(astronaut_path).convert("RGB"))[:240, 60:380]  # (240, 320, 3)


@pytest.fixture(scope="module")
def browser(tmp_path_factory, photo):
    """Chromium, whose camera shows the photo, moved from side to side."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    camera = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with camera.open("wb") as file:
        for step in range(24):
            moved = np.roll(photo, round(12 * np.sin(2 * np.pi * step / 24)), axis=1)
            file.write(cv2.imencode(".jpg", moved[..., ::-1])[1].tobytes())
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=flags, headless=True)
        yield opened
        opened.close()


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def avatars(bundle_folder, tmp_path_factory, runtime, face_networks):
    """Bundles by name: a tiny avatar, of the other values that frames depend on, of drawn lids, of anchors."""
    folder = tmp_path_factory.mktemp("avatars")
    shutil.copytree(bundle_folder, folder / "plain")
    shutil.copytree(bundle_folder, folder / "larger")
    contract = json.loads((folder / "larger" / "avatar.json").read_text())
    contract |= {"frame_size": contract["image_size"] * 3 // 2, "align_corners": not contract["align_corners"]}
    (folder / "larger" / "avatar.json").write_text(json.dumps(contract))
    give_lids(shutil.copytree(folder / "plain", folder / "blinking"))
    shutil.copytree(bundle_folder, folder / "anchored")
    contract = json.loads((folder / "anchored" / "avatar.json").read_text()) | {"anchors": asdict(anchors())}
    (folder / "anchored" / "avatar.json").write_text(json.dumps(contract))
    return folder


@pytest.fixture(scope="module")
def address(avatars):
    """The address of a page that computes with ONNX Runtime."""
    with serving(open_server(make_site(only_onnx(read_bundle(avatars / "plain"))))) as found:
        yield found


@pytest.fixture(scope="module")
def lite(avatars):
    """The address of a page that computes with LiteRT."""
    with serving(open_server(make_site(read_bundle(avatars / "plain")))) as found:
        yield found


@contextmanager
def visit(browser, address, **context):
    """A page at the address; no error of any kind may have been in its console when it is left."""
    visitor = browser.new_context(**context)
    page = visitor.new_page()
    page.set_default_timeout(PATIENCE)
    said = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(f"{request.url} {request.failure}"))
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.goto(address)
    yield page
    assert not said
    visitor.close()


def until(page, expression):
    """Wait for it to be true. Playwright's own way asks for eval, which the page's policy forbids."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(f"() => {expression}"):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def driven_by(page):
    return page.get_attribute("[data-source][aria-pressed=true]", "data-source")


def playing(page):
    """Wait until the avatar is there and moves."""
    page.wait_for_selector("#picture canvas")
    until(page, "document.querySelector('#rate b').textContent > 0")


# The emulated graphics processor dies of a canvas that is shown; what is drawn on it is drawn elsewhere, and read
UNSEEN = """() => {
  let device;
  const configure = GPUCanvasContext.prototype.configure;
  GPUCanvasContext.prototype.configure = function (how) { device = how.device; configure.call(this, how); };
  GPUCanvasContext.prototype.getCurrentTexture = function () {
    const size = [this.canvas.width, this.canvas.height];
    return device.createTexture({ size, format: "rgba8unorm", usage: GPUTextureUsage.RENDER_ATTACHMENT });
  };
}"""
RENDER = """async ([sampler, poses]) => {
  const web = await import("./bilayer.js");
  let avatar;
  try { avatar = await web.loadAvatar("avatar/avatar.json", { sampler }); }
  catch (error) { return { error: error.message }; }
  const frames = [];
  for (const pose of poses) {
    await avatar.render(pose);
    frames.push(btoa(String.fromCharCode(...await avatar.read())));
  }
  const answer = { frames, kind: avatar.sampler.kind, engine: avatar.runtime.engine };
  await avatar.dispose();
  return answer;
}"""


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("plain", "ort"),
        ("larger", "ort"),
        ("plain", "litert"),
        ("blinking", "litert"),
        ("anchored", "ort"),
        ("anchored", "litert"),
    ],
)
def test_frames_are_the_python_players_whatever_draws_them(browser, avatars, name, engine):
    bundle = read_bundle(avatars / name)
    bundle = only_onnx(bundle) if engine == "ort" else bundle
    player = AvatarPlayer.load(avatars / name, engine="onnxruntime")
    poses = [with_eyes(opening, player.source_pose.reshape(68, 2)).ravel() for opening in OPENINGS]
    poses = POSES if name != "blinking" else np.array(poses)  # eyes that shut, one by one, and open again
    expected = np.stack([player.render(pose) for pose in poses])
    assert len(np.unique(expected)) > 50
    with serving(open_server(make_site(bundle))) as address, visit(browser, f"{address}LICENSES.txt") as page:
        page.evaluate(UNSEEN)
        for sampler in SAMPLERS:
            answer = page.evaluate(RENDER, [sampler, poses.tolist()])
            assert (answer.get("kind"), answer.get("engine")) == (sampler, engine), answer
            content = b"".join(base64.b64decode(frame) for frame in answer["frames"])
            off = np.abs(np.frombuffer(content, np.uint8).reshape(expected.shape).astype(int) - expected)
            assert (off <= 2).mean() > 0.999, sampler


RECORDING = """() => {
  const start = MediaRecorder.prototype.start;
  MediaRecorder.prototype.start = function (...given) { window.recorder = this; start.apply(this, given); };
}"""


def test_the_page_plays_and_every_control_does_what_it_says(browser, address, tmp_path):
    with visit(browser, address, accept_downloads=True) as page:
        playing(page)
        assert page.evaluate("crossOriginIsolated")
        assert re.search(r"ONNX Runtime, WebAssembly, \d threads?", page.inner_text("#engine"))
        assert page.locator("button:visible:not([aria-label])").evaluate_all(
            "buttons => buttons.every((button) => button.innerText.trim())"
        )  # a screen reader has a name for each
        for name, value in (("Head", "100 %"), ("Mouth", "100 %"), ("Eyes", "100 %"), ("Smoothing", "188 ms at rest")):
            slider = page.get_by_role("slider", name=name, exact=True)
            assert slider.get_attribute("aria-valuetext") == value
        pictures = []
        for view, key in (("frame", "1"), ("texture", "2"), ("layer", "3"), ("warp", "4")):
            page.keyboard.press(key)
            assert page.get_attribute(f"[data-view={view}]", "aria-pressed") == "true"
            page.wait_for_timeout(150)
            pictures.append(page.locator("#picture").screenshot())
        assert len(set(pictures)) == 4
        page.click("[data-view=frame]")
        page.keyboard.press(" ")  # which after a click by the mouse is not for the button
        assert page.inner_text("#pause") == "Play"
        page.wait_for_timeout(300)
        still = page.locator("#picture").screenshot()
        page.wait_for_timeout(200)
        assert page.locator("#picture").screenshot() == still
        page.keyboard.press("m")
        assert page.is_checked("#mirror")
        assert page.locator("#picture").screenshot() != still
        page.keyboard.press(" ")
        page.fill("#mouth", "0.5")
        assert page.inner_text("output[for=mouth]") == "50 %"
        page.fill("#smoothing", "0")
        assert page.inner_text("output[for=smoothing]") == "off"
        page.check("#hold")
        assert page.inner_text("output[for=head]") == "held"
        page.click("#reset")
        assert page.inner_text("output[for=mouth]") == page.inner_text("output[for=head]") == "100 %"
        page.click("summary")
        page.click("[data-backdrop=green]")
        page.evaluate(RECORDING)
        page.keyboard.press("r")
        page.wait_for_timeout(1200)
        for state in ("paused", "recording"):
            page.keyboard.press(" ")
            assert page.evaluate("window.recorder.state") == state
        with page.expect_download() as download:
            page.keyboard.press("r")
        download.value.save_as(tmp_path / download.value.suggested_filename)
        assert (tmp_path / download.value.suggested_filename).stat().st_size > 2000
        assert page.inner_text("#problem") == ""


def test_a_face_before_the_camera_drives_the_avatar(browser, lite, tmp_path):
    with open_writer(tmp_path / "nobody.mp4", 25.0) as writer:
        for _ in range(10):
            writer.write(np.full((240, 320, 4), 128, np.uint8))
    with visit(browser, lite) as page:
        playing(page)
        assert re.search(r"LiteRT, WebAssembly, \d threads?", page.inner_text("#engine"))
        page.click("[data-source=camera]")
        until(page, "document.querySelector('#points').width > 300")  # landmarks have been drawn
        until(page, "document.querySelector('#message').textContent === ''")
        assert page.inner_text("#seen") == ""
        assert page.is_visible("[data-stage=face]")
        assert page.is_visible("#recentre")
        before = page.locator("#picture").screenshot()
        page.wait_for_timeout(400)
        assert page.locator("#picture").screenshot() != before
        page.evaluate(
            "document.querySelector('#video').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
        )
        assert page.inner_text("#problem").startswith("The camera is gone")
        assert driven_by(page) == "motion"
        assert page.is_hidden("#inset")
        page.set_input_files("#video-file", tmp_path / "nobody.mp4")
        until(page, "document.querySelector('#seen').textContent === 'no face seen'")
        assert page.inner_text("#message") == "nobody.mp4: looking for a face…"


def test_the_driver_that_was_chosen_last_counts(browser, lite):
    late = """() => {
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (what) => {
        await new Promise((allow) => { window.allow = allow; });
        return (window.stream = await ask(what));
      };
    }"""
    with visit(browser, lite) as page:
        playing(page)
        page.evaluate(late)
        page.click("[data-source=camera]")
        until(page, "Boolean(window.allow)")
        page.click("[data-source=motion]")
        page.evaluate("window.allow()")
        until(page, "window.stream?.getTracks().every((track) => track.readyState === 'ended')")  # its light is off
        assert driven_by(page) == "motion"
        assert page.evaluate("document.querySelector('#video').srcObject") is None


def test_another_avatar_is_followed_and_recorded_on_as_the_one_before(browser, lite, avatars, tmp_path):
    with visit(browser, lite, accept_downloads=True) as page:
        playing(page)
        page.click("[data-source=camera]")
        until(page, "document.querySelector('#points').width > 300")
        page.click("[data-backdrop=black]")
        page.keyboard.press("r")
        page.set_input_files("#bundle-files", list((avatars / "larger").iterdir()))
        until(page, "document.querySelector('#about').textContent.includes(' of a network of ')")
        assert driven_by(page) == "camera"
        before = page.locator("#picture").screenshot()
        page.wait_for_timeout(800)
        assert page.locator("#picture").screenshot() != before
        with page.expect_download() as download:
            page.keyboard.press("r")
        video = tmp_path / download.value.suggested_filename
        download.value.save_as(video)
        until(page, f"document.querySelector('#message').textContent === 'Saved as {video.name}.'")
    with open_pictures(video) as pictures:
        frames = [picture.astype(int) for picture in pictures]
    assert len({frame.tobytes() for frame in frames}) > 2
    assert all(frame.shape[0] == frame.shape[1] >= 256 and frame.std() > 5 for frame in frames)


def test_an_avatar_outlives_what_it_was_drawn_with(browser, address):
    with visit(browser, f"{address}?sampler=webgl2") as page:
        playing(page)
        page.evaluate(
            "window.first = document.querySelector('#picture canvas');"
            "window.first.getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()"
        )
        until(page, "document.querySelector('#picture canvas') !== window.first")
        playing(page)
        assert page.evaluate("!document.querySelector('#picture canvas').getContext('webgl2').isContextLost()")


@pytest.mark.parametrize("engine", ["ort", "litert"])
def test_landmarks_are_where_python_finds_them(browser, address, lite, landmarker, photo, engine):
    (face, *_) = landmarker.find(photo)
    encoded = base64.b64encode(cv2.imencode(".png", photo[..., ::-1])[1].tobytes()).decode()
    with visit(browser, f"{lite if engine == 'litert' else address}LICENSES.txt") as page:
        found = page.evaluate(
            """async ([png, engine]) => {
              const web = await import("./bilayer.js");
              const tracker = await web.FaceTracker.load(await web.loadRuntime({ engine }), "face/");
              const picture = await createImageBitmap(new Blob([Uint8Array.from(atob(png), (c) => c.charCodeAt(0))]));
              const found = await tracker.find(picture);
              return [found, await tracker.track(picture, found)].map((face) => [...face]);
            }""",
            [encoded, engine],
        )
    for landmarks in found:
        off = np.linalg.norm(np.reshape(landmarks, (68, 2)) - face.landmarks, axis=1) / face.eye_distance
        assert off.mean() < 0.01
        assert off.max() < 0.03


def test_what_cannot_be_is_one_line(browser, address, avatars, tmp_path):
    refuse = "async () => { throw new DOMException('', 'NotAllowedError'); }"
    deny = f"() => {{ navigator.mediaDevices.getUserMedia = {refuse}; }}"
    (tmp_path / "notes.txt").write_text("no avatar")
    (tmp_path / "avatar.zip").write_bytes(b"PK")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(3_000_000_000)  # of holes
    shutil.copytree(avatars / "plain", tmp_path / "damaged")
    (tmp_path / "damaged" / "avatar.safetensors").write_bytes(b"another")
    with visit(browser, address) as page:
        playing(page)
        page.evaluate(deny)
        page.click("[data-source=camera]")
        until(page, "document.querySelector('#problem').textContent.startsWith('The camera is refused')")
        page.set_input_files("#bundle-files", tmp_path / "notes.txt")
        assert "found notes.txt; drop the whole folder" in page.inner_text("#problem")
        page.set_input_files("#bundle-files", tmp_path / "large.json")
        until(page, "document.querySelector('#problem').textContent.startsWith('large.json: 3000000000 bytes')")
        page.set_input_files("#bundle-files", tmp_path / "avatar.zip")
        assert page.inner_text("#problem").endswith("unpack it, and drop the folder")
        page.set_input_files("#bundle-files", list((tmp_path / "damaged").iterdir()))
        until(page, "document.querySelector('#problem').textContent.includes('avatar.safetensors: not the')")
        page.set_input_files("#video-file", tmp_path / "notes.txt")
        until(page, "document.querySelector('#problem').textContent.includes('cannot play it')")
        page.set_input_files("#bundle-files", list((avatars / "larger").iterdir()))
        until(page, "document.querySelector('#about').textContent.includes(' of a network of ')")
        assert page.inner_text("#problem") == ""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_any_host_of_files_will_do_and_the_documented_lines_embed_it(browser, avatars, tmp_path):
    write_site(make_site(read_bundle(avatars / "plain")), tmp_path / "site")
    (example,) = re.findall(r"```html\n(.*?)```", (DOCS / "web.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "site" / "own.html").write_text(f"<!doctype html><link rel=icon href=data:,><body>{example}")
    handler = partial(_Quiet, directory=tmp_path / "site")
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        with visit(browser, address) as page:
            playing(page)
            assert "1 thread" in page.inner_text("#engine")
            assert "does not send the two headers" in page.inner_text("#engine")
        with visit(browser, f"{address}own.html") as page:
            page.wait_for_selector("body > canvas")
            page.wait_for_timeout(200)
            before = page.locator("canvas").screenshot()
            page.wait_for_timeout(300)
            assert page.locator("canvas").screenshot() != before
