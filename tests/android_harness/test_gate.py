"""Which results of a device pass for the avatar's network: the parity ladder's gate, at the emulation's distance."""

import json
import shutil
import sys
from typing import get_args

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from PIL import Image

from bilayer.android_harness.bench.parity import Reference
from bilayer.android_harness.cli import main
from bilayer.android_harness.report.tables import make_report
from bilayer.android_harness.results import read_result
from bilayer.android_harness.routes.vendor import COMPUTES_IN, Mode
from bilayer.benchmarks.parity.rungs.rung import EmulatedRung
from bilayer.benchmarks.parity.subject import open_subject
from bilayer.cli import emulated_outputs
from bilayer.cli import main as all_commands
from bilayer.export.network.emulate import emulate as emulated_layers
from bilayer.export.options import ExportOptions
from bilayer.export.pipeline import export_avatar
from bilayer.runtime.bundle import describe_file, read_bundle
from bilayer.runtime.engines.onnx_runtime import onnx_tensors
from bilayer.runtime.engines.pose_encoding import PoseEncoder
from bilayer.runtime.motion.poses import choose_poses
from tests import golden
from tests.android_harness.conftest import make_bundle
from tests.android_harness.made_results import make
from tests.runtime.conftest import CASE

KINDS = ("fp32", "fp16-hybrid", "fp16")
FP16 = {"hybrid": "fp16-hybrid", "half4": "fp16", "sequential": "fp16"}


@pytest.fixture(scope="module")
def avatar(exported_folder):
    """A bundle, four poses, the gate's reference for it, and how to run another network in its place."""
    bundle = read_bundle(exported_folder)
    poses = choose_poses(bundle.contract.source.pose, 4)
    reference = Reference(bundle, "numpy", emulated_outputs)
    encoder = PoseEncoder(bundle.contract.input, "")

    def run(model):
        infer = onnx_tensors(model, 1)
        return [dict(infer(encoder.encode(pose))) for pose in poses]

    return bundle, poses, reference, run


@pytest.fixture(scope="module")
def network_of_another(tmp_path_factory):
    """The bytes of the network that the same checkpoint makes of the mirrored photo."""
    folder = tmp_path_factory.mktemp("another")
    picture = CASE["source_image"]
    points = CASE["source_landmarks"] * [-1, 1] + [picture.shape[1] - 1, 0]
    Image.fromarray(np.ascontiguousarray(picture[:, ::-1])).save(folder / "face.png")
    np.save(folder / "face.npy", points)
    out = folder / "avatar.dlc"
    export_avatar(
        ExportOptions(
            folder / "face.png", out, "none", golden.CASE_A / "runs", landmarks=folder / "face.npy", mask=False
        )
    )
    return out.with_suffix(".onnx").read_bytes()


def with_slope(path, slope):
    """The bytes of a network with another slope in every leaky ReLU."""
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "LeakyRelu":
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("alpha", slope))
    return model.SerializeToString()


def test_every_mode_is_held_to_what_it_computes_in():
    assert set(COMPUTES_IN) == set(get_args(Mode))
    hosted = {"aihub-tflite-gpu": "fp16", "aihub-dlc-npu": "fp16"}  # named by what runs there, which computes in half
    hosted |= dict.fromkeys(("dsp", "htp", "htp-context"), "fp16")  # integers: held to half arithmetic
    for mode, kind in COMPUTES_IN.items():
        named = "fp16-hybrid" if "hybrid" in mode else "fp16" if "fp16" in mode else "fp32"
        assert kind == hosted.get(mode, named)


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_itself_passes_in_every_precision(avatar, kind):
    bundle, poses, reference, run = avatar
    parity = reference.compare(poses, run(bundle.path(bundle.contract.files.onnx).read_bytes()), kind)
    assert (parity.ruling.verdict, parity.not_emulated, bool(parity.emulated_db)) == ("passed", None, kind != "fp32")


@pytest.mark.parametrize("kind", KINDS)
def test_another_avatars_network_is_refused_in_every_precision(avatar, network_of_another, kind):
    _, poses, reference, run = avatar
    parity = reference.compare(poses, run(network_of_another), kind)
    assert parity.worst_db > 20  # which was all that was asked for once
    assert not parity.plausible


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slope", [0.1, 0.18, 0.3])
def test_wrong_slopes_are_refused_in_every_precision(avatar, kind, slope):
    bundle, poses, reference, run = avatar
    parity = reference.compare(poses, run(with_slope(bundle.path(bundle.contract.files.onnx), slope)), kind)
    assert parity.worst_db > 20
    assert not parity.plausible


@pytest.mark.parametrize(("arithmetic", "kind"), FP16.items())
def test_true_fp16_passes_as_what_it_is(avatar, arithmetic, kind):
    bundle, poses, reference, _ = avatar
    subject = open_subject(bundle, poses)
    found = [emulated_layers(subject.own, pose, arithmetic) for pose in subject.encoded()]
    parity = reference.compare(poses, found, kind)
    assert parity.plausible, parity.ruling
    assert parity.above_emulation_db == pytest.approx(0, abs=0.02) or arithmetic == "half4"
    assert parity.above_emulation_db > -0.02
    assert not reference.compare(poses, found, "fp32").plausible  # it would not be the precision that was asked for


def test_fp16_arithmetic_is_no_fp16_storage(avatar):
    bundle, poses, reference, _ = avatar
    subject = open_subject(bundle, poses)
    found = [emulated_layers(subject.own, pose, "sequential") for pose in subject.encoded()]
    assert "px off" in " ".join(reference.compare(poses, found, "fp16-hybrid").ruling.reasons)


def test_the_emulation_is_the_ladders(avatar):
    bundle, poses, _, _ = avatar
    rung = EmulatedRung(open_subject(bundle, poses), "sequential")
    for found, expected in zip(emulated_outputs(bundle, poses, "fp16"), rung.results([0, 1, 2, 3]), strict=True):
        assert all(np.array_equal(found.by_name[name], values) for name, values in expected.by_name.items())


def test_without_an_emulation_the_wider_gate_is_named(avatar, network_of_another):
    bundle, poses, _, run = avatar
    own = bundle.path(bundle.contract.files.onnx)
    reference = Reference(bundle, "numpy")
    parity = reference.compare(poses, run(own.read_bytes()), "fp16")
    (reason,) = parity.ruling.reasons
    assert (parity.ruling.verdict, parity.above_emulation_db) == ("warned", None)
    assert reason.startswith("held to 20 dB alone: FP16 was not emulated (this program was started without one")
    for kind in ("fp32", "fp16-hybrid"):  # need none
        assert reference.compare(poses, run(own.read_bytes()), kind).ruling.verdict == "passed"
        assert not reference.compare(poses, run(network_of_another), kind).plausible
    nothing = [{name: np.zeros_like(array) for name, array in one.items()} for one in run(own.read_bytes())]
    assert not reference.compare(poses, nothing, "fp16").plausible


def test_without_torch_the_extra_is_named(avatar, monkeypatch):
    bundle, poses, _, run = avatar
    for module in ("bilayer.benchmarks.parity.rungs.rung", "bilayer.export.network.emulate"):  # to be imported anew
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    reference = Reference(bundle, "numpy", emulated_outputs)
    parity = reference.compare(poses, run(bundle.path(bundle.contract.files.onnx).read_bytes()), "fp16")
    assert parity.not_emulated == "torch is not installed; pip install 'bilayer[export]'"


def test_a_table_shows_the_gate_and_the_distance(avatar):
    bundle, poses, reference, run = avatar
    parity = reference.compare(poses, run(bundle.path(bundle.contract.files.onnx).read_bytes()), "fp16")
    report = make_report([make(parity=parity)])
    section = next(section for section in report.sections if section.title == "Parity")
    (row,) = section.rows
    shown = dict(zip(section.headers, row, strict=True))
    assert (shown["held to"], shown["verdict"], shown["SSIM"]) == ("fp16", "passed", "1.0000")
    assert shown["above emulated dB"] == f"{200 - max(parity.emulated_db.values()):+.1f}"


@pytest.fixture
def bench(variables, plug_in, tmp_path):
    """Runs one mode of bilayer-device bench as the installed program does, with the emulation."""
    serial = plug_in()

    def run(bundle, mode, program=main, first=()):
        few = ("--repeats", 1, "--warm-up", 0, "--processes", 1, "--poses", 2, "--cool-down", 0)
        words = [*first, "bench", bundle, "--serial", serial, *few, "--mode", mode, "--out", tmp_path / "a.json"]
        obj = None if first else emulated_outputs  # `bilayer` hands it on by itself
        return CliRunner().invoke(program, [str(word) for word in words], env=variables, obj=obj)

    return run, tmp_path / "a.json"


@pytest.mark.parametrize("mode", ["gpu-fp16", "gpu-fp16-hybrid", "cpu"])
def test_a_bench_of_another_network_ends_with_4(bench, exported_folder, tmp_path, network_of_another, mode):
    source = tmp_path / "source"
    shutil.copytree(exported_folder, source)
    bundle = make_bundle(source, tmp_path / "bundle", 3, "NHWC")
    (bundle / "avatar.dlc").write_bytes(network_of_another)
    contract = json.loads((bundle / "avatar.json").read_text())
    file = describe_file(bundle / "avatar.dlc")
    contract["files"]["dlc"] |= {"bytes": file.bytes, "sha256": file.sha256}
    (bundle / "avatar.json").write_text(json.dumps(contract))
    run, out = bench
    done = run(bundle, mode)
    assert done.exit_code == 4, done.stderr
    kind = COMPUTES_IN[mode]
    assert f"{mode}: the device's results are not this network's in {kind}: " in done.stderr.splitlines()[-1]
    assert "WRONG RESULTS" in done.stdout
    assert not read_result(out).rows[0].parity.plausible


def test_under_its_other_name_the_program_emulates_too(bench, bundle):
    run, out = bench
    done = run(bundle, "gpu-fp16", all_commands, ("device",))
    assert done.exit_code == 0, done.stderr
    parity = read_result(out).rows[0].parity
    assert (parity.kind, parity.not_emulated, set(parity.emulated_db)) == ("fp16", None, {"delta_uv", "lf_rgb", "seg"})
