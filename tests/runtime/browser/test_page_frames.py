"""What the page draws is what the Python player draws, and landmarks are where Python finds them."""

import base64

import cv2
import numpy as np
import pytest

from bilayer.runtime import AvatarPlayer
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.web.server import open_server
from bilayer.runtime.web.site import make_site
from tests.runtime.browser.browser_page import OPENINGS, SAMPLERS, serving, visit
from tests.runtime.conftest import POSES, only_onnx
from tests.runtime.test_lids import with_eyes

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
