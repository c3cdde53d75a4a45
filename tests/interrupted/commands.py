"""What commands are interrupted: each with its words, what lies at its output before, and what must lie there after."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from bilayer.runtime.bundle import read_bundle

OUT = "out"  # of a command's folder: where all goes


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        lay: puts what is there before into `out` of a new folder, and returns the command's words; it is run in there.
        goes_on: what a failed run has made whole stays, and the same command goes on from it.
        parts: outputs of their own, each of which is whole or absent: beginnings of names.
        varies: files whose content is another in each run: they hold times.
        look: raises where `out` holds what it must not, wherever the command ended.
        passing: how the name ends of what may, of a killed command, name new files by other names; `look` knows.
        often: whether it is tried at every commit; the others with all points.
        alone: a process of its own changes its files, too, which copies of the command would disturb: each call has a
            run of its own.
        replaces: its worker processes; where a signal ends one, another does its work and the command goes on.
    """

    name: str
    program: str
    lay: Callable[..., list[object]]
    goes_on: bool = False
    parts: tuple[str, ...] = ("",)
    varies: Callable[[str], bool] = lambda name: False
    look: Callable[[Path], None] = lambda out: None
    passing: str = ""
    same: Callable[[Path, Path], None] | None = None
    often: bool = True
    alone: bool = False
    replaces: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def visible(out):
    """Contents of the files in a folder that are seen, by name: drafts and work in progress have names with a dot."""
    paths = sorted(path for path in out.rglob("*") if path.is_file()) if out.is_dir() else []
    names = {path.relative_to(out).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items() if not f"/{name}".count("/.")}


def hidden(out):
    """Names of what is not seen."""
    names = (path.relative_to(out).as_posix() for path in out.rglob("*")) if out.is_dir() else ()
    return sorted(name for name in names if f"/{name}".count("/."))


def _old(folder, *names):
    """Former results."""
    for name in names:
        path = folder / OUT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"former {name}".encode())


def _export(target, *more):
    def lay(goods, folder):
        shutil.copytree(goods.bundle, folder / OUT)
        return [goods.photo, "--checkpoint", goods.runs, "--landmarks", goods.landmarks, "--no-mask", "--refine",
                "none", "--target", target, "--out", f"{OUT}/avatar.dlc", *more]  # fmt: skip

    return lay


def _look_at_bundle(out):
    assert read_bundle(out / "avatar.json")  # compares every hash


def _many(goods, folder):
    """Two people."""
    shutil.copy(goods.landmarks, folder / "face.npy")
    with Image.open(goods.photo) as photo:
        for name, turned in (("ann", photo), ("ben", photo.point(lambda level: level // 2))):
            turned.save(folder / f"{name}.png")
    rows = ({"photo": f"{name}.png", "landmarks": "face.npy"} for name in ("ann", "ben"))
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["all.jsonl", "--checkpoint", goods.runs, "--no-mask", "--refine", "none", "--target", "none", "--jobs", 1,
            "--out", OUT]  # fmt: skip


def _look_at_many(out):
    for contract in out.glob("*/avatar.json"):
        assert read_bundle(contract)
    for record in out.glob("records/*.json"):  # written last
        assert (out / record.stem / "avatar.json").exists()


def _page(goods, folder):
    return [goods.bundle, "--out", f"{OUT}/site"]


def _demo(goods, folder):
    from skimage import data

    Image.fromarray(data.astronaut()).save(folder / "face.png")
    return ["face.png", "--out", OUT, "--seconds", "0.08"]


def _report(goods, folder):
    return [*_demo(goods, folder)[:1], "--target", "none", "--out", f"{OUT}/a.dlc", "--report", f"{OUT}/sheet.png"]


def _render(name):
    def lay(goods, folder):
        if "." in name:
            _old(folder, name)
        return [goods.bundle, "--demo-motion", "--frames", 3, "--engine", "onnxruntime", "--out", f"{OUT}/{name}"]

    return lay


def _heads(jobs):
    def lay(goods, folder):
        return ["heads", "--out", OUT, "--identities", 2, "--frames", 2, "--size", 64, "--jobs", jobs]

    return lay


def _videos(goods, folder):
    return ["videos", goods.film, "--out", OUT, "--size", 64, "--jobs", 1, "--min-frames", 2]


def _train(begun, *more):
    def lay(goods, folder):
        (folder / "tiny.toml").write_text(goods.settings)
        if begun:
            shutil.copytree(goods.begun_run, folder / OUT)
        return ["base", "--config", "tiny.toml", "--data", goods.frames, "--out", OUT, "--device", "cpu", *more]

    return lay


def _look_at_run(out):
    import torch

    from bilayer.model.checkpoint import load_model

    if (out / "state.pt").exists():
        assert torch.load(out / "state.pt", weights_only=True)["iteration"] in (2, 3)
    if (out / "checkpoint.safetensors").exists():
        load_model(out / "checkpoint.safetensors")
    if (out / "log.jsonl").exists():
        *lines, _ = (out / "log.jsonl").read_bytes().split(b"\n")
        assert all(isinstance(json.loads(line), dict) for line in lines)
    for path in out.glob("pictures/*.png"):
        Image.open(path).load()


def _logged(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "precision" not in line]  # a line of each start


def same_run(out, whole):
    """A run that went on ended as one that was not disturbed."""
    import torch

    assert _logged(out) == _logged(whole)
    one, other = (torch.load(folder / "state.pt", weights_only=True)["model"] for folder in (out, whole))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    here, there = visible(out), visible(whole)
    for name in there:
        if name not in ("state.pt", "log.jsonl") and not name.startswith("tensorboard/"):
            assert here[name] == there[name], name


def _convert(goods, folder):
    _old(folder, "model.safetensors")
    return ["convert", goods.runs, "--out", f"{OUT}/model.safetensors"]


def _sampler(goods, folder):
    _old(folder, "bilayer_sampler.h", "bilayer_sampler.o")
    return ["build", "--arch", "native", "--out", OUT]


def _parity(goods, folder):
    _old(folder, "report.html")
    return [goods.bundle, "--quick", "--poses", 2, "--html", f"{OUT}/report.html"]


def _inputs(goods, folder):
    return [goods.bundle, "--poses", 3, "--write-inputs", f"{OUT}/inputs"]


def _eval(goods, folder):
    _old(folder, "numbers.json", "sheet.png")
    outputs = ["--out", f"{OUT}/numbers.json", "--sheet", f"{OUT}/sheet.png", "--save-frames", f"{OUT}/frames"]
    few = ["--no-landmark-errors", "--every", 2, "--identities", 1]
    return ["checkpoint", goods.checkpoint64, "--data", goods.frames, *few, *outputs]


def _frames(goods, folder):
    for place in ("truth", "method"):
        (folder / place).mkdir()
        for name in range(2):
            shade = np.full((64, 64, 3), 40 * name + len(place), np.uint8)
            Image.fromarray(shade).save(folder / place / f"{name}.png")
    _old(folder, "numbers.json")
    return ["frames", "a=method", "--truth", "truth", "--no-landmark-errors", "--out", f"{OUT}/numbers.json"]


def _device_report(goods, folder):
    (folder / "result.json").write_text(json.dumps(goods.result))
    _old(folder, "report.html")
    return ["report", "result.json", "--html", f"{OUT}/report.html"]


def _plot(goods, folder):
    _old(folder, "plot.svg")
    return ["macs", "--preset", "demo", "--plot", f"{OUT}/plot.svg"]


def _times(name):
    return name.endswith(("report.html", "plot.svg"))


KILLED = [
    Command("export", "export", _export("none"), look=_look_at_bundle, passing="avatar.json"),
    Command(
        "export-many",
        "export",
        _many,
        goes_on=True,
        varies=lambda name: name.endswith("results.jsonl") or name.startswith("records/"),
        look=_look_at_many,
        passing="avatar.json",
        often=False,
    ),
    Command("web", "web", _page, parts=("site/",), often=False),
    Command("render-mp4", "render", _render("film.mp4")),
    Command("render-gif", "render", _render("film.gif"), often=False),
    Command("render-pngs", "render", _render("frames"), often=False),
    Command("train", "train", _train(False), goes_on=True, look=_look_at_run, same=same_run, often=False),
    Command("train-on", "train", _train(True, "--no-validate"), goes_on=True, look=_look_at_run, same=same_run),
    Command("prepare-heads", "prepare", _heads(1), goes_on=True, often=False),
    Command("prepare-heads-jobs", "prepare", _heads(2), goes_on=True, often=False, replaces=True),
    Command("prepare-videos", "prepare", _videos, goes_on=True),
]
COMMANDS = [
    *KILLED,
    Command(
        "export-dlc",
        "export",
        _export("qairt"),
        look=_look_at_bundle,
        varies=lambda name: name.endswith((".dlc", ".json")),
        often=False,
        alone=True,
    ),
    Command("export-tflite", "export", _export("none", "--also", "tflite"), look=_look_at_bundle, often=False),
    Command(
        "export-web",
        "export",
        _export("none", "--web", f"{OUT}/site"),
        parts=("avatar.", "site/"),
        look=_look_at_bundle,
        often=False,
    ),
    Command("export-integers", "export", _export("none", "--precision", "w8a16"), look=_look_at_bundle, often=False),
    Command("export-report", "export", _report, parts=("a.", "sheet.png"), often=False),
    Command("checkpoint-convert", "checkpoint", _convert),
    Command("sampler-build", "sampler", _sampler, often=False),
    Command("parity-html", "parity", _parity, varies=_times),
    Command("parity-inputs", "parity", _inputs),
    Command("eval-checkpoint", "eval", _eval, parts=("frames/", "numbers.json", "sheet.png")),
    Command("eval-frames", "eval", _frames),
    Command("device-report", "device", _device_report, varies=_times),
    Command("bench-plot", "bench", _plot, varies=_times, often=False),
]
