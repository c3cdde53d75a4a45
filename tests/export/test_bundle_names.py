"""Which avatar a file's name is of: the same for all of its files, and no other's."""

from dataclasses import fields

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bilayer.export.options import bundle_dlc, bundle_files
from bilayer.runtime.bundle import Files, read_bundle
from bilayer.runtime.bundle_names import BUNDLE_SUFFIXES, SUFFIXES, avatar_name
from bilayer.runtime.errors import BundleError, OutputError

# Words of the suffixes themselves, with and without dots: names that could be cut in more than one place
PIECES = sorted({piece for suffix in BUNDLE_SUFFIXES for piece in suffix.split(".") if piece})
NAMES = st.lists(st.sampled_from([*PIECES, *(f".{piece}" for piece in PIECES), "me", "v2", "é", "."]), min_size=1)


def test_every_file_that_a_contract_can_name_has_its_suffix():
    assert set(SUFFIXES) == {field.name for field in fields(Files)}


@given(NAMES.map("".join))
@example("me")
@example("me.v1.2")
@example(".hidden")
def test_any_file_of_an_export_names_the_same_avatar(name):
    try:
        dlc = bundle_dlc(f"no/such/{name}.dlc")
    except OutputError:
        return
    files = bundle_files(dlc)
    assert len(set(files)) == len(BUNDLE_SUFFIXES) == 13
    assert {bundle_dlc(file) for file in files} == {dlc}


@given(NAMES.map("".join), NAMES.map("".join))
def test_no_two_avatars_of_a_folder_have_a_file_in_common(one, other):
    try:
        first, second = bundle_files(f"no/such/{one}.dlc"), bundle_files(f"no/such/{other}.dlc")
    except OutputError:
        return
    assert first == second or not set(first) & set(second)


@pytest.mark.parametrize("suffix", BUNDLE_SUFFIXES)
def test_the_avatar_is_named_as_before_and_by_longer_suffixes_too(suffix):
    assert bundle_dlc(f"x{suffix}").name == "x.dlc"
    assert avatar_name(f"out/x.y{suffix}") == "x.y"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.fp16.dlc", r"x\.fp16\.dlc: an avatar named x\.fp16 would have the file x\.fp16\.tflite, which is one of x"),
        ("x.lids.json", r"the file x\.lids\.safetensors, which is one of x's; name it x-lids"),
        ("x.w8a16.dlc", r"the file x\.w8a16\.onnx, which is one of x's"),
        ("x.w8a8.safetensors", r"the file x\.w8a8\.onnx, which is one of x's"),
        ("x.png", r"x\.png: expected a folder or a name that ends in \.dlc, \.onnx, \.safetensors"),
        ("x.pte", "expected a folder or a name that ends in"),
        ("x.zip", "expected a folder or a name that ends in"),
        ("x.DLC", "expected a folder or a name that ends in"),
    ],
)
def test_what_names_no_avatar_of_its_own_is_refused(name, words):
    with pytest.raises(OutputError, match=words):
        bundle_dlc(name)


def test_a_folder_is_one_whatever_it_is_called(tmp_path):
    for name in ("me.fp16.tflite", "me.png"):
        (tmp_path / name).mkdir()
        assert bundle_dlc(tmp_path / name) == tmp_path / name / "avatar.dlc"


@pytest.mark.parametrize("suffix", sorted({suffix for some in SUFFIXES.values() for suffix in some}))
def test_a_file_of_an_avatar_given_for_it_leads_to_its_contract(suffix, tmp_path):
    (tmp_path / "me.json").write_text("{}")
    (tmp_path / f"me{suffix}").write_bytes(b"\x89PNG\r\n\x1a\n")
    told = r"is a picture \(PNG\) and not an avatar; give what lies beside it: .*me\.json"
    with pytest.raises(BundleError, match=told):
        read_bundle(tmp_path / f"me{suffix}")


def test_what_has_a_photos_name_is_not_of_the_avatar_beside_it(tmp_path):
    (tmp_path / "me.json").write_text("{}")
    (tmp_path / "me.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(BundleError, match="make one of it: bilayer-export"):
        read_bundle(tmp_path / "me.png")
