"""The page's controls in a real browser, the driver that was chosen last, and what cannot be."""

import http.server
import re
import shutil
from functools import partial

import numpy as np

from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.media.sources import open_pictures
from bilayer.runtime.media.writers import open_writer
from bilayer.runtime.web.site import make_site, write_site
from tests.runtime.browser.browser_page import DOCS, driven_by, playing, serving, until, visit

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
