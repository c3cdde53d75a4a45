import json
import shutil
import subprocess
import sys
from dataclasses import asdict

import cv2
import numpy as np
import pytest
from PIL import Image

from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.web.server import open_server
from bilayer.runtime.web.site import make_site
from tests.runtime.browser.browser_page import CHROMIUM, FLAGS, serving
from tests.runtime.conftest import only_onnx
from tests.runtime.test_anchors import anchors
from tests.runtime.test_lids import give_lids


@pytest.fixture(scope="package")
def runtime():
    """What computes in a browser, in the user's cache, fetched through npm where it is not."""
    done = subprocess.run(
        [sys.executable, "-m", "bilayer.runtime.web.engines"], capture_output=True, text=True, check=False
    )
    if done.returncode == 5:
        pytest.skip(f"what computes in a browser cannot be obtained here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="package")
def photo(astronaut_path):
    return np.asarray(Image.open(astronaut_path).convert("RGB"))[:240, 60:380]  # (240, 320, 3)


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
def address(avatars):
    """The address of a page that computes with ONNX Runtime."""
    with serving(open_server(make_site(only_onnx(read_bundle(avatars / "plain"))))) as found:
        yield found


@pytest.fixture(scope="package")
def lite(avatars):
    """The address of a page that computes with LiteRT."""
    with serving(open_server(make_site(read_bundle(avatars / "plain")))) as found:
        yield found
