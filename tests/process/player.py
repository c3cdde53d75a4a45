"""Calls of what plays an avatar: it needs no torch."""

import shutil
from functools import partial

from tests.process.rooms import import_all


def player_calls(folder):
    """What needs no torch."""
    import numpy as np

    import bilayer
    from bilayer.benchmarks.report.charts import BLUE, Bar, BarChart, ChartRow, Part, bar_charts
    from bilayer.runtime.bundle import read_bundle
    from bilayer.runtime.engines.choice import PRECISIONS
    from bilayer.runtime.jobs.run import Workers, run_jobs
    from bilayer.runtime.media.photo import read_photo
    from bilayer.runtime.media.sound import open_sound
    from bilayer.runtime.media.video import VideoFrames, WebcamFrames
    from bilayer.runtime.media.window import open_window
    from bilayer.runtime.media.writers import open_writer
    from bilayer.runtime.motion.track_files import read_track, write_track
    from bilayer.runtime.rendering import cli
    from bilayer.runtime.rendering.options import RenderOptions
    from bilayer.runtime.sampler.compositor import FrameCompositor
    from bilayer.runtime.sampler.gpu import GpuCompositor

    yield "importing the runtime", partial(import_all, "runtime", "android_harness")
    bundle = folder / "bundle"

    def play(**options):
        avatar = bilayer.load_avatar(bundle, **options)
        for frame in avatar.frames(bilayer.demo_motion(avatar, seconds=0.1)):
            assert frame.shape == (64, 64, 4)

    for engine, precisions in PRECISIONS.items():
        for precision in precisions if engine != "ncnn-vulkan" else ():  # ncnn's, and slow where a processor plays it
            yield f"playing by {engine} in {precision}", partial(play, engine=engine, precision=precision, threads=1)
    yield "playing a bundle that is none", partial(bilayer.load_avatar, folder)

    def render(name, **options):
        out = folder / "rendered" / name
        shutil.rmtree(out.parent, ignore_errors=True)
        out.parent.mkdir()
        cli.render(RenderOptions(bundle, out, demo_motion=True, frames=2, **options))

    for name in ("a.mp4", "a.gif", "frames"):
        yield f"rendering to {name}", partial(render, name)

    yield "rendering in less", partial(render, "a.mp4", precision="fp16")

    def watch(place):
        with VideoFrames(place) as frames:
            assert sum(1 for _ in frames) == 6

    def write(name, count):
        with open_writer(folder / name, 25.0) as writer:
            for level in range(count):
                writer.write(np.full((64, 64, 4), 40 * level, np.uint8))

    write("drive.mp4", 6)
    content = (folder / "drive.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) * 2 // 3])
    (folder / "none.mp4").write_bytes(content[:40])
    yield "writing a video", partial(write, "w.mp4", 3)
    yield "writing no frame", partial(write, "n.mp4", 0)
    for name in ("drive.mp4", "cut.mp4", "none.mp4"):
        yield f"watching {name}", partial(watch, folder / name)

    def hear():
        with open_sound(folder / "drive.mp4"):
            pass

    yield "hearing", hear
    yield "a camera that is not there", partial(WebcamFrames, 77)

    def show():
        with open_window("a") as window:
            window.note = "a note"
            window.write(np.full((64, 64, 4), 255, np.uint8))

    yield "a window", show
    photo = (folder / "face.png").read_bytes()
    (folder / "cut.png").write_bytes(photo[: len(photo) // 2])
    yield "a photo", partial(read_photo, folder / "face.png")
    yield "half a photo", partial(read_photo, folder / "cut.png")
    track = bilayer.demo_motion(bilayer.load_avatar(bundle), seconds=1)
    yield "a track", lambda: (write_track(folder / "track.npz", track), read_track(folder / "track.npz"))
    yield "a track that is none", partial(read_track, folder / "face.png")
    texture, zero = np.zeros((3, 32, 32), np.float32), np.zeros((32, 32), np.float32)
    inputs = np.zeros((2, 32, 32), np.float32), texture, zero

    def draw(**options):
        FrameCompositor(texture, align_corners=False, size=48, **options).render(*inputs)

    for engine, threads in (("numba", 1), ("numba", 2), ("numpy", 1)):
        yield f"drawing by {engine} on {threads}", partial(draw, engine=engine, threads=threads)
    yield "drawing by a GPU", lambda: GpuCompositor(texture, align_corners=False).render(*inputs)
    for processes in (1, 2):
        yield f"jobs on {processes}", lambda n=processes: list(run_jobs(len, ["a", "bc", "def"], Workers(n)))
    yield "reading a bundle", partial(read_bundle, bundle)
    chart = BarChart("ms", [ChartRow("one", [Bar([Part(1.0, BLUE)])])])
    yield "a chart", partial(bar_charts, [chart])


def face_calls(folder):
    """What looks for faces; the folder has `photo.png`, too."""
    import bilayer
    from bilayer.runtime.face.find import find_face
    from bilayer.runtime.face.mediapipe import MediapipeLandmarker
    from bilayer.runtime.face.person_mask import PersonMasker
    from bilayer.runtime.face.recognition import IdentityRecogniser
    from bilayer.runtime.likeness import measure_likeness
    from bilayer.runtime.media.photo import read_photo
    from bilayer.runtime.media.sources import open_pictures
    from bilayer.runtime.motion.drivers import TrackedDriver
    from bilayer.runtime.rendering.paste_back import paste_back

    place = folder / "photo.png"
    photo, load = read_photo(place), partial(bilayer.load_avatar, folder / "bundle")
    yield "finding a face", lambda: find_face(photo, MediapipeLandmarker())
    yield "finding none", lambda: find_face(photo[:64, :64], MediapipeLandmarker())
    yield "cutting a person out", lambda: PersonMasker().mask(photo[:256, :256])
    yield "recognising a person", lambda: IdentityRecogniser().describe(photo)
    yield "likeness", lambda: measure_likeness(load(), photo, MediapipeLandmarker(), count=1)
    yield "pasting back", lambda: paste_back(read_photo(folder / "face.png"), load(), folder / "face.png")
    yield "following a picture", lambda: TrackedDriver(lambda: open_pictures(place), False).track(MediapipeLandmarker())
