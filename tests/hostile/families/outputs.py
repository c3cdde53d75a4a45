"""Outputs in the place of what is read, or of one another: refused before any work, whatever the file is called."""

import json
import os
import shutil

from tests.hostile.case import Case

GOES = r"is read here, and would go with it; name another place$"
NOT_EMPTY = "is there already and not an empty folder"
OVER = r"is read here, and would be written over; name another place$"


def over(name, command, lay, says=OVER):
    return Case("outputs", name, command, lay, (3,), says)


def copy(goods, folder, copied):
    """Good files under other names: me_json is me.json."""
    for name, kind in copied.items():
        shutil.copy(getattr(goods, kind), folder / name.replace("_", "."))


def export(*words, **copied):
    """An export of the right photo, and of what the words say."""

    def lay(goods, folder):
        copy(goods, folder, copied)
        return [goods.photo, *words, "--target", "none"]

    return lay


def linked(make):
    """The checkpoint under two names."""

    def lay(goods, folder):
        shutil.copy(goods.checkpoint, folder / "weights.safetensors")
        make(folder / "me.safetensors", folder / "weights.safetensors")
        return [goods.photo, "--checkpoint", "weights.safetensors", "--out", "me.dlc", "--target", "none"]

    return lay


def bundled(words, **copied):
    def lay(goods, folder):
        shutil.copytree(goods.bundle, folder / "avatar")
        copy(goods, folder, copied)
        return words

    return lay


def still_picture(goods, folder):
    from PIL import Image

    shutil.copytree(goods.bundle, folder / "avatar")
    Image.open(goods.photo).save(folder / "me.gif")
    return ["avatar", "--drive", "me.gif", "--out", "me.gif"]


def report(goods, folder):
    (folder / "phone.html").write_text(json.dumps(goods.result))
    return ["report", "phone.html", "--html", "./phone.html"]


def page_on(name):
    """A page that is a link to a file of the avatar."""

    def lay(goods, folder):
        shutil.copytree(goods.bundle, folder / "avatar")
        (folder / "me.html").hardlink_to(folder / "avatar" / name)
        return ["avatar", "--html", "me.html"]

    return lay


def manifest(goods, folder):
    shutil.copy(goods.photo, folder / "me.png")
    (folder / "results.jsonl").write_text('{"photo": "me.png"}\n')
    return ["results.jsonl", "--out", ".", "--target", "none"]


def photo_of_a_manifest(goods, folder):
    shutil.copy(goods.photo, folder / "contact-sheet.jpg")
    (folder / "people.jsonl").write_text('{"photo": "contact-sheet.jpg", "name": "me"}\n')
    return ["people.jsonl", "--out", ".", "--target", "none"]


def site_of_an_avatar(goods, folder):
    """A folder that a page was written to, and in it the avatar."""
    shutil.copytree(goods.bundle, folder / "site" / "me")
    (folder / "site" / "page.json").write_text("{}")
    return ["site/me", "--out", "site"]


def site_of_a_photo(goods, folder):
    (folder / "site").mkdir()
    (folder / "site" / "page.json").write_text("{}")
    shutil.copy(goods.photo, folder / "site" / "me.png")
    return ["site/me.png", "--web", "site", "--out", "a", "--target", "none"]


def trained(stage, option):
    """A run over the weights that it starts from."""

    def lay(goods, folder):
        (folder / "run").mkdir()
        shutil.copy(goods.checkpoint, folder / "run" / "checkpoint.safetensors")
        (folder / "settings.toml").touch()
        return [stage, "--config", "settings.toml", option, "run/checkpoint.safetensors", "--out", "run"]

    return lay


def sheet_in_page(goods, folder):
    return [goods.photo, "--web", "site", "--report", "site/sheet.png", "--out", "a", "--target", "none"]


def in_place(goods, folder):
    shutil.copy(goods.checkpoint, folder / "model.safetensors")
    return ["convert", "model.safetensors", "--precision", "fp16", "--out", "model.safetensors"]


def evaluated(*words, code=3, says=OVER, model="model.safetensors"):
    def lay(goods, folder):
        shutil.copy(goods.checkpoint, folder / model)
        return ["checkpoint", model, "--data", goods.data, "--no-landmark-errors", *words]

    return Case("outputs", f"eval-{words[-1]}", "eval", lay, (code,), says)


KINDS = {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/null")}
OF_THE_SYSTEM = r"is a device, pipe or socket; name a file to write$"


def onto(kind, name, command, lay):
    """An output where what is no file lies."""

    def laid(goods, folder):
        words = lay(goods, folder)
        KINDS[kind](folder / name)
        return words

    return over(f"{command}-onto-a-{kind}-{name}", command, laid, OF_THE_SYSTEM)


def frames(goods, folder):
    for name in ("truth", "method"):
        (folder / name).mkdir()
        shutil.copy(goods.photo, folder / name / "0.png")
    return ["frames", "a=method", "--truth", "truth", "--no-landmark-errors", "--out", "me.json"]


def report_to(goods, folder):
    (folder / "phone.json").write_text(json.dumps(goods.result))
    return ["report", "phone.json", "--html", "me.html"]


ONTO = [
    ("me.json", "eval", frames),
    ("me.html", "device", report_to),
    ("me.html", "parity", bundled(["avatar", "--quick", "--html", "me.html"])),
    ("me.mp4", "render", bundled(["avatar", "--demo-motion", "--frames", 1, "--out", "me.mp4"])),
    ("me.gif", "render", bundled(["avatar", "--demo-motion", "--frames", 1, "--out", "me.gif"])),
    ("me.safetensors", "checkpoint", lambda goods, folder: ["convert", goods.runs, "--out", "me.safetensors"]),
    *((f"me.{kind}", "export", export("--out", "me.dlc")) for kind in ("dlc", "json", "onnx", "safetensors")),
    ("me.preview.png", "export", export("--out", "me.dlc")),
    ("me.png", "export", export("--report", "me.png", "--out", "a.dlc")),
]
CASES = [
    *(onto(kind, *one) for one in ONTO for kind in KINDS),
    over("checkpoint", "export", export("--checkpoint", "avatar.safetensors", avatar_safetensors="checkpoint")),
    over("landmarks", "export", export("--landmarks", "me.json", "--out", "me.dlc", me_json="landmarks")),
    over("another-photo", "export", export("me.preview.png", "--out", "me.dlc", me_preview_png="photo")),
    over("a-symbolic-link", "export", linked(lambda link, file: link.symlink_to(file))),
    over("a-link", "export", linked(lambda link, file: link.hardlink_to(file))),
    over("report-on-the-photo", "export", export("me.png", "--report", "me.png", me_png="photo")),
    over("report-in-the-page", "export", sheet_in_page, "the avatar or its page goes there"),
    over("render-the-driver", "render", bundled(["avatar", "--drive", "me.mp4", "--out", "me.mp4"], me_mp4="video")),
    over("render-a-still", "render", still_picture),
    over("parity-the-contract", "parity", page_on("avatar.json")),
    over("parity-the-network", "parity", page_on("avatar.onnx")),
    over("parity-the-photo", "parity", bundled(["avatar", "--photo", "me.html", "--html", "me.html"], me_html="photo")),
    over("bench-the-contract", "device", bundled(["bench", "avatar", "--out", "avatar/avatar.json"])),
    over("device-report", "device", report),
    over("convert", "checkpoint", in_place),
    evaluated("--out", "model.json", model="model.json"),
    evaluated("--sheet", "./model.png", model="model.png"),
    evaluated("--out", "a.json", "--save-frames", "a.json", code=2, says="written by themselves"),
    evaluated("--sheet", "b.png", "--save-frames", "./b.png", code=2, says="written by themselves"),
    evaluated("--sheet", "b.png", "--out", "b.png", code=2, says=r"a name that ends in \.json, found \.png"),
    over("bulk-the-manifest", "export", manifest),
    over("bulk-a-photo-of-the-manifest", "export", photo_of_a_manifest),
    over("web-the-avatar", "web", site_of_an_avatar, GOES),
    over("web-the-photo", "export", site_of_a_photo, GOES),
    over("train-on-its-start", "train", trained("base", "--init")),
    over("train-on-its-base", "train", trained("enhancer", "--base")),
    over("render-the-avatar", "render", bundled(["avatar", "--demo-motion", "--out", "avatar"]), NOT_EMPTY),
]
