"""The switch from one avatar to the next: wherever it is killed, one of them is there, whole."""

import itertools
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from bilayer.export.switch import switch
from bilayer.runtime.bundle import Bundle, describe_file, read_bundle
from bilayer.runtime.errors import BundleError
from bilayer.runtime.files.writing import drafting
from tests.interposed import FINE, with_fault
from tests.runtime.test_bundle import contract
from tests.runtime.test_lids import give_lids

SUFFIXES = (".onnx", ".safetensors", ".preview.png", ".dlc")
USUAL = {"avatar.json", *(f"avatar{suffix}" for suffix in SUFFIXES)}


def write(folder: Path, content: str, stem: str = "avatar", with_dlc: bool = True) -> None:
    """An avatar all of whose files hold `content`, and whose contract says so."""
    out = folder / f"{stem}.dlc"
    with drafting(out) as draft:
        for suffix in SUFFIXES:
            text = f"{suffix} {content} {stem}".encode()
            (draft / f"avatar{suffix}").write_bytes(b"\x12" + bytes([len(text)]) + text)  # protobuf, for the .onnx
        whole = contract(draft, with_dlc)
        if stem != "avatar":
            for suffix in SUFFIXES:
                (draft / f"avatar{suffix}").rename(draft / f"{stem}{suffix}")
        named = {
            role: file and describe_file(draft / f"{stem}{file.name.removeprefix('avatar')}")
            for role, file in vars(whole.files).items()
        }
        whole = replace(whole, files=replace(whole.files, **named), origin=replace(whole.origin, checkpoint=content))
        (draft / f"{stem}.json").write_text(whole.to_json())
        switch(draft, out, whole)


def avatar_in(folder: Path) -> str | None:
    """Which avatar is there, all of its files of the same; None if there is none."""
    if not (folder / "avatar.json").exists():
        return None
    bundle: Bundle = read_bundle(folder / "avatar.json")  # compares every hash
    content = bundle.contract.origin.checkpoint
    assert all(f" {content} ".encode() in bundle.path(file).read_bytes() for file in bundle.contract.files.present)
    return content


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("action", ["kill", "term", "full"])
def test_wherever_it_ends_one_avatar_is_there(tmp_path, before, action):
    seen = set()
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        if before:
            write(folder, before)
        code, said, reached = with_fault(lambda folder=folder: write(folder, "new"), folder, number, action)
        if not reached:
            assert code == FINE
            break
        found = avatar_in(folder)
        seen.add(found)
        assert found in (before, "new")
        if action == "kill":
            assert code == -signal.SIGKILL
        elif action == "full":
            assert code == FINE or said.startswith(("bilayer.runtime.errors.OutputError: ", "OSError: "))
            assert found == (before if code != FINE and "not by its usual names" not in said else "new")
            assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
        write(folder, "newer")  # the next run sweeps what the killed one left
        assert avatar_in(folder) == "newer"
        assert {path.name for path in folder.iterdir()} == USUAL
    assert number > 25
    assert seen == {before, "new"}


def test_several_avatars_live_in_one_folder(tmp_path):
    for stem in ("avatar", "avatar.b", "b"):
        write(tmp_path, f"of {stem}", stem)
    for stem in ("b", "avatar", "avatar.b"):
        write(tmp_path, f"again of {stem}", stem)
    for stem in ("avatar", "avatar.b", "b"):
        assert read_bundle(tmp_path / f"{stem}.json").contract.origin.checkpoint == f"again of {stem}"
    assert len(list(tmp_path.iterdir())) == 15


def test_files_that_the_new_avatar_lacks_go_and_others_stay(tmp_path):
    write(tmp_path, "old")
    (tmp_path / "avatar.txt").write_text("mine")
    (tmp_path / ".avatar.0123abcd.notes").write_text("mine")
    write(tmp_path, "new", with_dlc=False)
    assert avatar_in(tmp_path) == "new"
    expected = USUAL - {"avatar.dlc"} | {"avatar.txt", ".avatar.0123abcd.notes"}
    assert {path.name for path in tmp_path.iterdir()} == expected


def test_what_the_new_avatar_lacks_goes_after_a_kill_too(tmp_path):
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, "old")
        write(folder, "other", "avatar.w8a8")  # whose .onnx is named as one in integers is, of the first
        (folder / "avatar.txt").write_text("mine")
        code, _, reached = with_fault(
            lambda folder=folder: write(folder, "new", with_dlc=False), folder, number, "kill"
        )
        assert (code == -signal.SIGKILL) == reached
        write(folder, "newer", with_dlc=False)
        assert avatar_in(folder) == "newer"
        others = {"avatar.w8a8.json", *(f"avatar.w8a8{suffix}" for suffix in SUFFIXES), "avatar.txt"}
        assert {path.name for path in folder.iterdir()} == USUAL - {"avatar.dlc"} | others
        if not reached:
            break
    assert number > 25


def test_a_contract_that_names_others_files_cannot_have_them_removed(tmp_path):
    write(tmp_path, "old")
    (tmp_path / "other.onnx").write_text("mine")
    text = (tmp_path / "avatar.json").read_text()
    (tmp_path / "avatar.json").write_text(text.replace("avatar.onnx", "other.onnx"))
    write(tmp_path, "new")
    assert (tmp_path / "other.onnx").read_text() == "mine"
    (tmp_path / "avatar.json").write_text("{")
    write(tmp_path, "newer")
    assert avatar_in(tmp_path) == "newer"


def test_a_file_system_without_links_gets_copies(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    write(tmp_path, "old")
    write(tmp_path, "new")
    assert avatar_in(tmp_path) == "new"
    assert {path.name for path in tmp_path.iterdir()} == USUAL


def test_what_mixes_is_seen(tmp_path):
    """The oracle of this file: a mixed bundle is none."""
    write(tmp_path / "a", "old")
    write(tmp_path / "b", "new")
    (tmp_path / "b" / "avatar.dlc").replace(tmp_path / "a" / "avatar.dlc")
    with pytest.raises(BundleError):
        avatar_in(tmp_path / "a")


def test_the_lids_of_the_avatar_before_go_with_it(tmp_path):
    write(tmp_path, "old")
    lids = give_lids(tmp_path) / "avatar.lids.safetensors"
    (tmp_path / "avatar.w8a8.lids.safetensors").write_bytes(b"another avatar's")
    assert lids in read_bundle(tmp_path / "avatar.json").paths
    write(tmp_path, "new")
    assert {path.name for path in tmp_path.iterdir()} == {*USUAL, "avatar.w8a8.lids.safetensors"}
    assert read_bundle(tmp_path / "avatar.json").contract.lids is None
