"""Every option that names what a command writes: a wrong suffix is a usage error, before anything is loaded."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from bilayer.cli import main
from bilayer.runtime.command.options import NamedFile
from tests.option_table import parameters

# Of each option that is written to: the suffixes that it takes, or what else it is
VIDEO, PAGE = (".mp4", ".gif", ""), (".html", ".htm")
FOLDER, PROGRAM, AVATAR = "a folder", "a program", "a file of an avatar, or a folder"
WRITTEN = {
    ("demo", "--out"): NamedFile,
    ("export", "--out"): AVATAR,
    ("export", "--report"): (".png",),
    ("export", "--web"): FOLDER,
    ("serve", "--cache"): FOLDER,
    ("render", "--out"): VIDEO,
    ("web", "--out"): FOLDER,
    ("parity", "--html"): PAGE,
    ("parity", "--write-inputs"): FOLDER,
    ("device bench", "--out"): (".json",),
    ("device bench", "--logs"): FOLDER,
    ("device run", "--out"): VIDEO,
    ("device report", "--html"): PAGE,
    ("device build-runner", "--out"): PROGRAM,
    ("checkpoint convert", "--out"): (".safetensors",),
    ("checkpoint convert", "place"): (".safetensors",),
    ("sampler build", "--out"): FOLDER,
    **{(f"bench {name}", "--plot"): (".svg",) for name in
       ("sampler", "frame", "init", "variants", "network", "macs", "roofline", "export", "bulk")},
    ("prepare videos", "--out"): FOLDER,
    ("prepare heads", "--out"): FOLDER,
    ("train base", "--out"): FOLDER,
    ("train enhancer", "--out"): FOLDER,
    ("eval frames", "--out"): (".json",),
    ("eval checkpoint", "--out"): (".json",),
    ("eval checkpoint", "--sheet"): (".png",),
    ("eval checkpoint", "--save-frames"): FOLDER,
}  # fmt: skip
# Paths that are read, all others that there are
READ = {"data", "config", "init", "base", "model", "root", "truth", "masks", "landmarks", "checkpoint", "checkpoints"}
READ |= {"bundle", "photo", "photos", "others", "drive", "paste_back", "device_outputs", "checked", "inspected", "path"}
READ |= {"runs_dir", "runtime", "token_file", "ncnn_runner", "benchmark_model", "executor_runner", "runner", "results"}
READ |= {"lpips_vgg16", "lpips_heads", "arcface", "places"}
FILES = {place: kind for place, kind in WRITTEN.items() if kind is NamedFile or isinstance(kind, tuple)}


def places():
    """Each option or argument that is a path, by its command and its name."""
    for command, one in parameters():
        if isinstance(one.type, click.Path | NamedFile):
            yield (command, one.opts[-1]), one


def wrong(place, name):
    """The words of a command whose file is called so, and nothing else that it wants."""
    command, option = place
    words = command.split()
    return [*words, "runs", name] if option == "place" else [*words, option, name]


def test_it_is_known_of_every_path_whether_it_is_written():
    found = dict(places())
    assert {place for place, one in found.items() if one.name not in READ} == set(WRITTEN)
    for place, one in found.items():
        assert isinstance(one.type, NamedFile) == (place in FILES), place
        if isinstance(WRITTEN.get(place), tuple):
            assert one.type.suffixes == WRITTEN[place], place


@pytest.mark.parametrize("place", FILES, ids=" ".join)
@pytest.mark.parametrize("name", ["out.txt", "out.json.xyz", "other.mp4/out.dlc.zip"])
def test_a_wrong_suffix_is_a_usage_error(place, name):
    done = CliRunner().invoke(main, wrong(place, name))
    if place[1] != "--out" or FILES[place] != VIDEO or not name.rpartition("/")[2].startswith("."):  # .html: a folder
        assert (done.exit_code, done.stdout) == (2, "")
        assert f"{name}: expected a" in done.stderr
        assert "a name that ends in ." in done.stderr


@pytest.mark.parametrize(
    "place", [place for place, kind in FILES.items() if kind not in (VIDEO, NamedFile)], ids=" ".join
)
@pytest.mark.parametrize("name", ["out", "a.folder/out"])
def test_a_file_without_a_suffix_is_a_usage_error(place, name):
    done = CliRunner().invoke(main, wrong(place, name))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "found no suffix" in done.stderr


def test_it_is_told_before_anything_is_loaded():
    words = [*(wrong(place, "out.txt") for place in FILES), ["export", "me.jpg", "--out", "me.txt"]]
    code = f"""
import sys
from bilayer.cli import main
for words in {words}:
    try:
        main(words)
    except SystemExit as end:
        assert end.code == 2, words
print(sorted({{"numpy", "torch", "onnx", "onnxruntime", "numba", "PIL", "matplotlib", "jinja2"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("suffix", [".svg", ".SVG"])
def test_a_right_suffix_of_any_case_passes(suffix, tmp_path):
    place = tmp_path / "new" / f"a{suffix}"
    done = CliRunner().invoke(main, ["bench", "macs", "--preset", "demo", "--plot", str(place)])
    assert done.exit_code == 0, done.stderr
    assert place.read_text().startswith("<svg")
