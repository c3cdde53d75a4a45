"""Whatever the bytes, a .dlc reads or is refused in one line, within bounds of memory."""

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilayer.export.dlc.read import parse_dlc, read_dlc
from bilayer.runtime.errors import DlcError
from bilayer.runtime.files.reading import FileKind
from tests.export import dlc_writer
from tests.export.dlc.dlc_files import MODEL, WRITTEN, reads_or_raises

KINDS = [*WRITTEN, "v4 real"]


def pick(files, kind):
    if kind not in files:
        pytest.skip("the extra [qairt] is not installed")
    return files[kind]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_truncated_file_reads_or_raises(files, kind, data):
    whole = pick(files, kind)
    assert reads_or_raises(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_file_with_flipped_bits_reads_or_raises(files, kind, data):
    damaged = bytearray(pick(files, kind))
    regions = [*member_ranges(damaged).values(), range(len(damaged))]
    for _ in range(data.draw(st.integers(1, 6))):
        region = data.draw(st.sampled_from(regions))
        damaged[data.draw(st.integers(region.start, region.stop - 1))] ^= 1 << data.draw(st.integers(0, 7))
    reads_or_raises(clear_checksums(damaged))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_file_with_wild_offsets_reads_or_raises(files, kind, data):
    damaged = bytearray(pick(files, kind))
    regions = [r for name, r in member_ranges(damaged).items() if name in ("model", "model.params") and len(r) > 8]
    for _ in range(data.draw(st.integers(1, 4))):
        region = data.draw(st.sampled_from(regions))
        position = region.start + data.draw(st.integers(0, len(region) // 4 - 1)) * 4
        number = data.draw(st.sampled_from([0, 1, 4, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
        struct.pack_into("<I", damaged, position, number)
    reads_or_raises(clear_checksums(damaged))


@given(st.binary(max_size=300), st.booleans())
def test_noise_reads_or_raises(noise, as_zip):
    assert reads_or_raises(b"PK\x03\x04" + noise if as_zip else noise) is None


@given(st.binary(max_size=300), st.binary(max_size=100), st.sampled_from([3, 4]))
def test_members_of_noise_read_or_raise(model, params, version):
    header = dlc_writer.header(version)
    members = {"model": header + b"\4\0\0\0NETD" + model, "model.params": header + b"\4\0\0\0NETP" + params}
    reads_or_raises(dlc_writer.pack(members))


def member_ranges(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        ranges = {}
        for entry in archive.infolist():
            names, extras = struct.unpack_from("<HH", data, entry.header_offset + 26)
            start = entry.header_offset + 30 + names + extras
            ranges[entry.filename] = range(start, start + entry.file_size)
        return ranges


def clear_checksums(data):
    """Zero CRCs, as Qualcomm's writers leave them, so that damage gets past the zip."""
    position = bytes(data).rfind(b"PK\x01\x02")
    while position >= 0:
        data[position + 16 : position + 20] = bytes(4)
        position = bytes(data[:position]).rfind(b"PK\x01\x02")
    return bytes(data)


def test_a_table_that_holds_itself_costs_bounded_memory():
    # a vector of 60,000 offsets, all to one string of 4,000 bytes, named by 1,000 nodes: 240 GB if it were believed
    graph = dlc_writer.Writer()
    builder = graph.builder
    text = builder.CreateString("x" * 4000)
    builder.StartVector(4, 60_000, 4)
    for _ in range(60_000):
        builder.PrependUOffsetTRelative(text)
    names = dlc_writer.Offset(builder.EndVector())
    nodes = [graph.table({1: "a", 2: "Add", 3: names, 4: names}) for _ in range(1000)]
    members = {"model": dlc_writer.header(3) + graph.finish(graph.table({1: nodes}), b"NETD")}
    with pytest.raises(DlcError, match="asks for more than 128 MiB"):
        parse_dlc(dlc_writer.pack(members), "bomb")


def v3_with(**members):
    return dlc_writer.pack({**dlc_writer.v3_members(MODEL), **{k.replace("_", "."): v for k, v in members.items()}})


def v4_with(*, drop=(), **members):
    with zipfile.ZipFile(io.BytesIO(WRITTEN["v4 inline"])) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name not in drop}
    return dlc_writer.pack({**kept, **members})


def compressed():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model", bytes(1000))
    return file.getvalue()


def twice():
    data = dlc_writer.pack({"model": b"a", "modem": b"b"})
    return data.replace(b"modem", b"model")


def one_tensor(shape, size):
    weights = dlc_writer.Writer()
    data = weights.table({0: dlc_writer.uint8(9), 2: np.zeros(size, np.float32)})
    tensor = weights.table({0: "weights", 1: dlc_writer.ints(shape), 2: data})
    params = weights.finish(weights.table({0: [weights.table({0: "pose_fc0", 1: [tensor]})]}), b"NETP")
    return v3_with(model_params=dlc_writer.header(3) + params)


def other_id(version):
    return dlc_writer.header(version) + b"\4\0\0\0NETX" + bytes(8)


BAD = {
    "empty": (b"", "not a .dlc file: expected a zip"),
    "text": (b"converter: ok\n", "not a .dlc file"),
    "no members": (dlc_writer.pack({}), "expected a member named model, found none"),
    "another zip": (dlc_writer.pack({"a.txt": "x", "b.txt": "y"}), "expected a member named model, found a.txt, b.txt"),
    "compressed": (compressed(), "member model: expected it stored, found it compressed"),
    "twice": (twice(), "two members named model"),
    "many members": (dlc_writer.pack({str(i): "" for i in range(100)}), "expected at most 64 members, found 100"),
    "control characters": (dlc_writer.pack({"mo\x1bdel": "x"}), "name is not printable"),
    "checksum": (WRITTEN["v3"].replace(b"NETP", b"NETQ"), "member model.params: damaged: its checksum differs"),
    "no header": (v3_with(model=b"NETD"), "member model: expected it to start with d5 0a"),
    "v2": (v3_with(model=dlc_writer.header(2) + bytes(20)), "expected DLC version 3 or 4, found 2"),
    "v5": (v3_with(model=dlc_writer.header(5) + bytes(20)), "expected DLC version 3 or 4, found 5"),
    "mixed": (v3_with(model_params=dlc_writer.header(4) + bytes(20)), "model has version 3, model.params 4"),
    "v3 other id": (
        v3_with(model=dlc_writer.header(3) + b"\4\0\0\0NETX" + bytes(8)),
        "expected id NETD, found b'NETX'",
    ),
    "v4 other id": (
        v4_with(model=dlc_writer.header(4) + b"\4\0\0\0NETX" + bytes(8)),
        "expected id NETD, found b'NETX'",
    ),
    "v4 no graph": (
        v4_with(model=dlc_writer.header(4) + dlc_writer.Writer().finish(dlc_writer.Offset(0), b"NETD")),
        "damaged|expected one graph",
    ),
    "v4 no weights": (v4_with(drop=["model.params"]), "tensor .*: its data is missing"),
    "no root": (v3_with(model=dlc_writer.header(3)), "expected id NETD|damaged"),
    "shape and data differ": (one_tensor([4, 4], 15), "expected 64 bytes for float32 .4, 4., found 60"),
    "negative size": (one_tensor([-4, 4], 16), "expected up to 16 sizes from 0 up"),
    "no numbers": (one_tensor([0, 2**31 - 1, 2**31 - 1, 2**31 - 1], 0), "tensor pose_fc0.weights: has no data"),
    "huge": (one_tensor([2**31 - 1] * 16, 4), "expected .* bytes"),
    "many dimensions": (one_tensor([1] * 17, 1), "expected up to 16 sizes"),
    "metadata not JSON": (v3_with(**{"dlc_metadata2_1": "{"}), "member dlc.metadata2.1: expected JSON"),
    "metadata deep": (v3_with(**{"dlc_metadata2_1": "[" * 100_000}), "expected JSON that is not nested deeply"),
    "metadata nested names": (v3_with(**{"dlc_metadata2_1": '{"' + "k" * 2000 + '": {"a": 1}}'}), "nested deeply"),
    "metadata large": (v3_with(**{"dlc_metadata": "a" * (2 << 20)}), "expected at most 1048576 bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_line(case):
    data, message = BAD[case]
    assert reads_or_raises(data) is None
    with pytest.raises(DlcError, match=message):
        parse_dlc(data, "some.dlc")


def test_metadata_with_lone_surrogates_can_be_printed():
    dlc = reads_or_raises(v3_with(**{"dlc_metadata2_1": '{"a": "\\ud800", "n": NaN, "l": [1, {"x": null}]}'}))
    assert dlc.metadata["metadata2.1.a"] == "\ufffd"
    assert dlc.metadata["metadata2.1.l.1.x"] == "None"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device"])
def test_what_is_not_a_file_is_refused(tmp_path, kind):
    path = tmp_path / "a.dlc"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    kinds = "no such file|is a folder|is a device, pipe or socket"
    with pytest.raises(DlcError, match=rf"^{path}: ({kinds}); name a .dlc"):
        read_dlc(path)


def test_a_file_over_the_limit_is_not_read(tmp_path):
    (tmp_path / "a.dlc").touch()
    os.truncate(tmp_path / "a.dlc", FileKind.DLC.most + 1)  # takes no room on the disk
    with pytest.raises(DlcError, match="expected at most"):
        read_dlc(tmp_path / "a.dlc")


def test_layers_that_name_the_same_weights_again_and_again_are_refused():
    """v3: layers of one name share its weights, so that a few bytes would list them millions of times."""
    writer = dlc_writer.Writer()
    node = writer.table({1: "n", 2: "Convolutional"})
    model = writer.finish(writer.table({1: [node] * 20_000}), b"NETD")
    writer = dlc_writer.Writer()
    data = writer.table({0: dlc_writer.uint8(9), 2: np.zeros(1, np.float32)})
    weights = [writer.table({0: f"w{i}", 1: dlc_writer.ints([1]), 2: data}) for i in range(2_000)]
    params = writer.finish(writer.table({0: [writer.table({0: "n", 1: weights})]}), b"NETP")
    members = {"model": dlc_writer.header(3) + model, "model.params": dlc_writer.header(3) + params}
    with pytest.raises(DlcError, match="more than"):
        parse_dlc(dlc_writer.pack(members), "a.dlc")
