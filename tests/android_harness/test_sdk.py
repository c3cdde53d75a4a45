"""What is found in an SDK's folders, and how its programs are told what to do."""

import shlex
import struct

import numpy as np
import pytest

from bilayer.android_harness.device.execution import read_results
from bilayer.android_harness.routes.sdk import find_sdk, is_android_program
from bilayer.android_harness.routes.vendor import ROUTES, input_list
from bilayer.runtime.errors import DeviceError, ToolMissingError


def make(root, target, *files):
    for name in (f"bin/{target}/snpe-net-run", *files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_of_several_compilers_the_newest_clang(tmp_path):
    for target in ("aarch64-android-gcc4.9", "aarch64-android-clang6.0", "aarch64-linux-gcc4.9"):
        make(tmp_path / "snpe-1.32.0.555", target)
    sdk = find_sdk({"SNPE_ROOT": str(tmp_path / "snpe-1.32.0.555")})
    assert (sdk.target, sdk.era, sdk.version) == ("aarch64-android-clang6.0", "1.x", "1.32.0.555")


def test_a_2x_sdk_tells_its_version_in_its_yaml(tmp_path):
    root = make(tmp_path / "qairt", "aarch64-android")
    (root / "sdk.yaml").write_text("version: 2.51.0.260901\n")
    sdk = find_sdk({"QNN_SDK_ROOT": str(root)})
    assert (sdk.variable, sdk.era, sdk.version) == ("QNN_SDK_ROOT", "2.x", "2.51.0.260901")


def test_libraries_that_go_to_the_device(tmp_path):
    lib = "lib/aarch64-android"
    root = make(tmp_path, "aarch64-android", f"{lib}/libSNPE.so", f"{lib}/libc++_shared.so", f"{lib}/libQnnHtp.so")
    files = ROUTES["snpe"].files(find_sdk({"SNPE_ROOT": str(root)}), tmp_path / "a.dlc")
    assert sorted(files) == ["avatar.dlc", "bin/snpe-net-run", "lib/libSNPE.so", "lib/libc++_shared.so"]
    with pytest.raises(ToolMissingError, match=r"bin/aarch64-android/qnn-net-run: not there|libQnnGpu.so: not there"):
        ROUTES["qnn"].files(find_sdk({"SNPE_ROOT": str(root)}), tmp_path / "a.dlc")


def test_modes_become_the_documented_options():
    command = ROUTES["snpe"].command("gpu-fp16", "basic", "timed.txt")
    assert command.endswith(
        "./bin/snpe-net-run --container avatar.dlc --input_list timed.txt --use_gpu --gpu_mode float16 --output_dir "
        "out --perf_profile high_performance --profiling_level basic"
    )
    assert "--use_gpu --output_dir" in ROUTES["snpe"].command("gpu-fp16-hybrid", "basic", "a")
    assert "--use_gpu" not in ROUTES["snpe"].command("cpu", "basic", "a")
    assert "--backend lib/libQnnGpu.so --model lib/libQnnModelDlc.so" in ROUTES["qnn"].command("gpu", "detailed", "a")


def test_integers_have_modes_on_hexagon():
    snpe, qnn = ROUTES["snpe"], ROUTES["qnn"]
    assert "--input_list a --use_dsp --output_dir" in snpe.command("dsp", "basic", "a")
    online = qnn.command("htp", "basic", "a")
    assert "--backend lib/libQnnHtp.so --model lib/libQnnModelDlc.so --dlc_path avatar.dlc --input_list a" in online
    assert "/dsp" in online
    shell, flag, steps = shlex.split(qnn.command("htp-context", "basic", "a"))
    assert (shell, flag) == ("sh", "-c")
    prepared, run = steps.split(" && ")[1:]
    assert prepared == (
        "./bin/qnn-context-binary-generator --backend lib/libQnnHtp.so --model lib/libQnnModelDlc.so "
        "--dlc_path avatar.dlc --output_dir context --binary_file avatar"
    )
    assert run.startswith("exec ./bin/qnn-net-run --backend lib/libQnnHtp.so --retrieve_context context/avatar.bin ")
    assert "--model" not in run


def test_what_hexagon_needs_goes_to_the_device(tmp_path):
    lib, skels = "lib/aarch64-android", [f"lib/hexagon-v{number}/unsigned" for number in (68, 73)]
    needed = [f"{lib}/{name}" for name in ("libSNPE.so", "libSnpeHtpPrepare.so", "libSnpeHtpV73Stub.so")]
    root = make(tmp_path, "aarch64-android", *needed)
    sdk = find_sdk({"SNPE_ROOT": str(root)})
    with pytest.raises(ToolMissingError, match=r"hexagon-vNN/unsigned/libSnpe\*Skel\.so: not there"):
        ROUTES["snpe"].files(sdk, tmp_path / "a.dlc", integers=True)
    make(tmp_path, "aarch64-android", *(f"{folder}/libSnpeHtpV{folder[13:15]}Skel.so" for folder in skels))
    files = ROUTES["snpe"].files(sdk, tmp_path / "a.dlc", integers=True)
    assert {name for name in files if name.startswith("lib/")} == {
        *(f"lib/{name.rpartition('/')[2]}" for name in needed),
        "lib/libSnpeHtpV68Skel.so",
        "lib/libSnpeHtpV73Skel.so",
    }
    assert not any("Htp" in name for name in ROUTES["snpe"].files(sdk, tmp_path / "a.dlc"))


def test_input_lists_name_the_outputs_where_snpe_wants_them():
    assert input_list("pose", ["i/0.raw", "i/1.raw"], ["a", "b"]) == "#a b\npose:=i/0.raw\npose:=i/1.raw\n"
    assert input_list("pose", ["i/0.raw"]) == "pose:=i/0.raw\n"
    assert [ROUTES[name].names_outputs for name in ("snpe", "qnn")] == [True, False]


@pytest.mark.parametrize(
    ("header", "android"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, 183), True),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, 62), False),
        (b"#!/usr/bin/python3\nprint(1)\n", False),
        (b"", False),
    ],
)
def test_only_a_program_for_64_bit_arm_counts_as_the_vendors(tmp_path, header, android):
    (tmp_path / "a").write_bytes(header)
    assert is_android_program(tmp_path / "a") is android


@pytest.mark.parametrize("name", ["layers.raw", "layers:0.raw", "other.raw"])
def test_results_are_turned_to_nchw_whatever_their_file_is_called(tmp_path, name):
    expected = np.arange(24, dtype=np.float32).reshape(1, 6, 2, 2)
    (tmp_path / "Result_3").mkdir()
    expected.transpose(0, 2, 3, 1).astype("<f4").tofile(tmp_path / "Result_3" / name)
    found = read_results(tmp_path, 3, {"layers": (1, 6, 2, 2)}, "NHWC")
    assert np.array_equal(found["layers"], expected)
    with pytest.raises(DeviceError, match=r"expected 100 bytes of float32 \[1, 1, 5, 5\], found 96"):
        read_results(tmp_path, 3, {"layers": (1, 1, 5, 5)}, "NCHW")
    with pytest.raises(DeviceError, match=r"Result_0: expected layers.raw, found nothing"):
        read_results(tmp_path, 0, {"layers": (1, 6, 2, 2)}, "NCHW")
