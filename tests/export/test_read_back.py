"""What the export says is verified is the bundle as it lies on disk: faults planted in its last steps are refused."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from bilayer.benchmarks.parity.ladder import check_bundle
from bilayer.export import bundle as bundle_module
from bilayer.export import pipeline
from bilayer.export.metadata import AVATAR_ENTRY
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.errors import ParityError
from bilayer.runtime.sampler.grid_sample import pack_texture
from tests.benchmarks.avatars import copied, export_tiny, rewritten


def contract_changed(monkeypatch, change):
    """Write another contract than the export's."""
    parts = pipeline.BundleParts

    def changed(contract, *others):
        return parts(lambda **given: change(contract(**given)), *others)

    monkeypatch.setattr(pipeline, "BundleParts", changed)


def align_corners_inverted(monkeypatch):
    contract_changed(monkeypatch, lambda made: replace(made, align_corners=not made.align_corners))


def the_base_texture_for_the_refined(monkeypatch):
    create = pipeline.avatar_of

    def keeping(*given, **named):
        made = create(*given, **named)
        monkeypatch.setattr(bundle_module, "pack_texture", lambda texture: pack_texture(made.base_texture[0].numpy()))
        return made

    monkeypatch.setattr(pipeline, "avatar_of", keeping)


def height_and_width_swapped(monkeypatch):
    monkeypatch.setattr(
        bundle_module, "pack_texture", lambda texture: pack_texture(np.ascontiguousarray(texture.transpose(0, 2, 1)))
    )


def red_and_blue_swapped(monkeypatch):
    monkeypatch.setattr(bundle_module, "pack_texture", lambda texture: pack_texture(texture[::-1].copy()))


def upside_down(monkeypatch):
    monkeypatch.setattr(bundle_module, "pack_texture", lambda texture: pack_texture(texture[:, ::-1].copy()))


def another_offset(monkeypatch):
    def wrong(made):
        low = replace(made.outputs.lf_rgb, offset=0.05)
        return replace(made, outputs=replace(made.outputs, lf_rgb=low))

    contract_changed(monkeypatch, wrong)


FAULTS = [
    align_corners_inverted,
    the_base_texture_for_the_refined,
    height_and_width_swapped,
    red_and_blue_swapped,
    upside_down,
    another_offset,
]


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_fault_in_what_is_written_is_refused_and_nothing_stays(plant, monkeypatch, tmp_path):
    plant(monkeypatch)
    with pytest.raises(ParityError, match=r"played from the files that were written, a frame has .* dB"):
        export_tiny(tmp_path, refine="fit")
    assert list((tmp_path / "avatar").iterdir()) == []


@pytest.fixture(scope="module")
def bundle(case_a_folder):
    return read_bundle(case_a_folder / "avatar")


def moved(contract):
    source = replace(contract.source, pose=[number + 0.01 for number in contract.source.pose])
    return replace(contract, source=source)


def scaled(contract):
    outputs = replace(contract.outputs, lf_rgb=replace(contract.outputs.lf_rgb, scale=1.5))
    return replace(contract, outputs=outputs)


def shifted(contract):
    outputs = replace(contract.outputs, delta_uv=replace(contract.outputs.delta_uv, offset=0.01))
    return replace(contract, outputs=outputs)


def reordered(contract):
    first, second = contract.outputs.delta_uv, contract.outputs.lf_rgb
    outputs = replace(
        contract.outputs,
        delta_uv=replace(first, start=second.start, stop=second.start + 2),
        lf_rgb=replace(second, start=first.start, stop=first.start + 3),
    )
    return replace(contract, outputs=outputs)


def without_a_mask(contract):
    return replace(contract, outputs=replace(contract.outputs, seg=None))


@pytest.mark.parametrize("change", [moved, scaled, shifted, reordered, without_a_mask])
def test_a_contract_that_is_not_the_networks_is_told_without_a_photo(bundle, tmp_path, change):
    assert check_bundle(bundle).verdict == "passed"
    wrong = copied(bundle, tmp_path / "avatar")
    contract = change(wrong.contract)
    failures = check_bundle(rewritten(wrong, outputs=contract.outputs, source=contract.source)).failures
    assert any("the network says" in failure for failure in failures)


def test_another_avatars_texture_is_told_without_a_photo(bundle, tmp_path):
    wrong = copied(bundle, tmp_path / "avatar")
    path = wrong.path(wrong.contract.files.texture)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4] = np.float32(0.123).tobytes()
    path.write_bytes(bytes(data))
    with pytest.raises(ParityError, match="texture_sha256: the network says"):
        check_bundle(rewritten(wrong)).require()


def test_a_network_of_version_0_1_is_played_and_said_to_tell_nothing(bundle, tmp_path):
    old = copied(bundle, tmp_path / "avatar")
    path = old.path(old.contract.files.onnx)
    model = onnx.load(path)
    kept = [entry for entry in model.metadata_props if entry.key != AVATAR_ENTRY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    path.write_bytes(model.SerializeToString(deterministic=True))
    ladder = check_bundle(rewritten(old))
    assert ladder.verdict == "warned"
    assert any("exported by version 0.1" in check.text for check in ladder.checks)
