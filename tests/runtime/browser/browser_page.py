"""The page in a real browser: Debian's Chromium, headless, its graphics emulated, a file in the place of a camera."""

import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
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
