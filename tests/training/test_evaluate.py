"""Evaluation of models and baselines on a tiny dataset of drawn heads."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from bilayer.model import load_model
from bilayer.model.macs import count_costs, macs_per_frame
from bilayer.runtime.errors import InputError
from bilayer.training.evaluate.baselines import affine_map, affine_warps, mean_head, source_copies
from bilayer.training.evaluate.cases import read_case, scaled_landmarks
from bilayer.training.evaluate.models import evaluate_model, evaluate_models, render_case
from bilayer.training.evaluate.protocol import EvaluationProtocol, choose_sequences
from bilayer.training.evaluate.result import AFFINE_WARP, MEAN_HEAD, SOURCE_COPY, EvaluationResult, MethodResult
from bilayer.training.evaluate.sheet import draw_sheet, hardest_target
from bilayer.training.evaluate.times import add_times
from bilayer.training.metrics.meter import Meter
from tests import golden
from tests.runtime.synthetic_faces import NARROW, face, seen
from tests.training.test_metrics_landmarks import ScriptedLandmarker

SIZE = 64
RUNS = golden.CASE_A / "runs"


def draw_head(landmarks, colour, size=SIZE):
    """A drawn head (size, size, 3) on a grey wall, and its mask (size, size)."""
    picture = np.full((size, size, 3), 90, np.uint8)
    mask = np.zeros((size, size), np.uint8)
    hull = cv2.convexHull(landmarks.astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 255)
    cv2.fillConvexPoly(picture, hull, colour)
    for part in (slice(36, 42), slice(42, 48), slice(48, 60)):
        cv2.fillConvexPoly(picture, landmarks[part].astype(np.int32), (20, 20, 60))
    return picture, mask


def open_picture(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def add_sequence(root, split, person, frames=5, size=SIZE, masks=True, seed=0, video="v", name="s"):
    rng = np.random.default_rng([seed, int(person)])
    colour = tuple(int(c) for c in rng.integers(80, 230, 3))
    for index in range(frames):
        pose = {"yaw": 10 * index - 10, "roll": 3 * index, "size": 0.3 * size, "at": (0.5 * size + index, 0.45 * size)}
        landmarks = seen(face(NARROW, mouth=0.1 * index), **pose)
        picture, mask = draw_head(landmarks, colour, size)
        stem = Path(split, person, video, name)
        for kind in ("imgs", "keypoints", *(("segs",) if masks else ())):
            (root / kind / stem).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / "imgs" / stem / f"{index:04d}.png")
        np.save(root / "keypoints" / stem / f"{index:04d}.npy", landmarks)
        if masks:
            Image.fromarray(mask).save(root / "segs" / stem / f"{index:04d}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for person in ("001", "002"):
        add_sequence(root, "train", person)
    for person in ("101", "102", "103"):
        add_sequence(root, "test", person)
    return root


@pytest.fixture(scope="module")
def model():
    return load_model(RUNS)


@pytest.fixture(scope="module")
def result(model, data):
    return evaluate_model(model, data, EvaluationProtocol(identities=2, every=2))


def case_of(data, person=0, every=1):
    return read_case(choose_sequences(data, EvaluationProtocol(every=every))[person], every, SIZE)


def test_protocol_takes_the_first_frame_and_then_every_nth(data):
    case = case_of(data, every=2)
    assert case.label == "101/v/s"
    assert case.names == ("0002", "0004")
    first = open_picture(data / "imgs/test/101/v/s/0000.png")
    assert np.array_equal(case.source.image, first)


def test_one_sequence_of_each_identity_that_is_long_enough(tmp_path):
    add_sequence(tmp_path, "test", "001", frames=2, name="a")
    add_sequence(tmp_path, "test", "001", frames=4, name="b")
    add_sequence(tmp_path, "test", "001", frames=4, name="c")
    add_sequence(tmp_path, "test", "002", frames=2)
    add_sequence(tmp_path, "test", "003", frames=4)
    chosen = choose_sequences(tmp_path, EvaluationProtocol(every=3))
    assert [sequence.label for sequence in chosen] == ["001/v/b", "003/v/s"]
    assert len(choose_sequences(tmp_path, EvaluationProtocol(every=1, identities=2))) == 2
    with pytest.raises(InputError, match="expected a sequence of more than 25 frames, found none; take targets more"):
        choose_sequences(tmp_path, EvaluationProtocol())


def test_methods_and_counts(result):
    assert [m.name for m in result.methods] == [
        SOURCE_COPY,
        MEAN_HEAD,
        AFFINE_WARP,
        "ours lf only",
        "ours",
        "ours + updater",
        "ours + fit",
    ]
    assert (result.identities, result.frames) == (2, 4)
    assert all(len(m.scores["l1"]) == 4 for m in result.methods)
    assert [m.name for m in result.methods if m.in_ablation] == ["ours", "ours + updater"]


def test_pixels_are_compared_without_the_background(result, data, model):
    case = case_of(data, every=2)
    expected = {SOURCE_COPY: [], "ours": []}
    renderings = render_case(model, case)[""]
    person = np.rint(case.source.image * (case.source.mask[..., None] / 255))
    for target, rendering in zip(case.targets, renderings, strict=True):
        keep = target.mask[..., None] / 255
        for name, picture in ((SOURCE_COPY, person), ("ours", rendering)):
            expected[name].append(np.abs((picture / 255 - target.image / 255) * keep).mean())
    for name, values in expected.items():
        np.testing.assert_allclose(result.method(name).scores["l1"][:2], values, atol=1e-6)


def test_a_perfect_picture_scores_perfectly(data):
    case = case_of(data)
    meter = Meter()
    truth = meter.prepare_truth([target.image for target in case.targets])
    scores = meter.score([target.image for target in case.targets], truth)
    assert scores["l1"].max() == 0
    np.testing.assert_allclose(scores["ssim"], 1, atol=1e-5)


def test_affine_map_is_exact_where_there_is_one():
    rng = np.random.default_rng(0)
    points, matrix = rng.normal(size=(68, 2)), rng.normal(size=(2, 3))
    targets = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(affine_map(points, targets), matrix, atol=1e-10)


def test_affine_warp_of_a_shift_is_the_shifted_head(tmp_path):
    landmarks = seen(face(NARROW), size=18, at=(28, 28))
    folder = Path("test/1/v/s")
    for kind in ("imgs", "keypoints", "segs"):
        (tmp_path / kind / folder).mkdir(parents=True)
    for index, points in enumerate((landmarks, landmarks + np.float32([6, 4]))):
        picture, mask = draw_head(points, (200, 120, 80))
        Image.fromarray(picture).save(tmp_path / "imgs" / folder / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "segs" / folder / f"{index}.png")
        np.save(tmp_path / "keypoints" / folder / f"{index}.npy", points)
    case = case_of(tmp_path)
    (warped,), target = affine_warps(case), case.targets[0]
    inside = cv2.erode(target.mask, np.ones((5, 5))) == 255
    assert np.abs(warped[inside].astype(int) - target.image[inside]).max() <= 2
    copy = source_copies(case)[0]
    assert np.array_equal(copy[case.source.mask == 255], case.source.image[case.source.mask == 255])
    assert (copy[case.source.mask == 0] == 0).all()


def test_mean_head_is_the_mean_of_training_pictures_without_background(data):
    total = np.zeros((SIZE, SIZE, 3))
    for person in ("001", "002"):
        picture = open_picture(data / f"imgs/train/{person}/v/s/0000.png").astype(float)
        mask = open_picture(data / f"segs/train/{person}/v/s/0000.png") / 255
        total += picture * mask[..., None]
    assert np.abs(mean_head(data, SIZE) - total / 2).max() <= 1


def test_keypoints_scale_with_the_picture(tmp_path):
    add_sequence(tmp_path, "test", "001", size=128)
    case = case_of(tmp_path)
    assert case.source.image.shape == (SIZE, SIZE, 3)
    stored = np.load(tmp_path / "keypoints/test/001/v/s/0000.npy")
    np.testing.assert_allclose(scaled_landmarks(case.source), stored / 2, rtol=1e-6)


def test_data_without_masks_is_measured_whole_and_says_so(model, tmp_path):
    add_sequence(tmp_path, "test", "001", frames=3, masks=False)
    result = evaluate_model(model, tmp_path, EvaluationProtocol(every=2))
    case = case_of(tmp_path, every=2)
    expected = np.abs(case.source.image / 255 - case.targets[0].image / 255).mean()
    assert result.method(SOURCE_COPY).mean("l1") == pytest.approx(expected, abs=1e-6)
    assert any("left in: the data has no masks" in note for note in result.notes)


def test_the_model_is_left_in_the_mode_it_was_in(model, data):
    model.identity_embedder.train()
    try:
        evaluate_model(model, data, EvaluationProtocol(identities=1, every=4), baselines=False)
        assert model.identity_embedder.training
        assert not model.texture_generator.training
    finally:
        model.eval()


def test_same_numbers_every_time(model, data, result):
    again = evaluate_model(model, data, EvaluationProtocol(identities=2, every=2))
    assert json.dumps(again.to_dict()) == json.dumps(result.to_dict())


def test_without_an_enhancer_there_is_no_row_of_it(data):
    alone = load_model(RUNS, optional=())
    result = evaluate_model(alone, data, EvaluationProtocol(identities=1, every=4), baselines=False)
    assert [m.name for m in result.methods] == ["ours lf only", "ours", "ours + fit"]


def test_several_models_stand_in_one_table(model, data):
    models = {"baseline": load_model(RUNS, optional=()), "ours": model}
    result = evaluate_models(models, data, EvaluationProtocol(identities=1, every=4), baselines=False)
    assert [m.name for m in result.methods if m.in_ablation] == ["baseline", "ours", "ours + updater"]
    assert result.method("baseline").mean("l1") == result.method("ours").mean("l1")


def test_macs_are_the_models(result, model):
    expected = macs_per_frame(count_costs(model.config, model.networks)) / 1e9
    assert result.method("ours + updater").costs.gmacs == expected
    assert result.method(SOURCE_COPY).costs.gmacs is None


def test_times_stand_in_the_models_rows_alone(result, model, data):
    timed = add_times(result, {"ours": model}, case_of(data), repeats=1)
    assert timed.method("ours").costs.init_ms > 0
    assert timed.method("ours + updater").costs.inference_ms > 0
    assert timed.method("ours").costs.gmacs == result.method("ours").costs.gmacs
    assert timed.method(AFFINE_WARP).costs.init_ms is None
    assert f"threads: {torch.get_num_threads()}." in timed.notes[-1]


def scripted_result():
    def method(name, errors, misses=()):
        values = np.array(errors, np.float64)
        values[list(misses)] = np.nan
        scores = {"l1": np.array([0.5, 0.5, 0.5]), "psnr": np.full(3, 10.0), "ssim": np.full(3, 0.5)}
        landmark = {f"{part}_error": values for part in ("mouth", "eye", "pose")}
        return MethodResult(name, scores | landmark | {"nme": values, "nme_x10": 10 * values})

    methods = (method(AFFINE_WARP, [0.1, 0.2, 0.9]), method("ours", [0.05, 0.1, 0.7], misses=[2]))
    return EvaluationResult(methods, frames=3, identities=1, faces_in_truth=3, unavailable={"lpips": "needs a file"})


def test_ratio_to_the_affine_warp_is_over_frames_that_both_have():
    result = scripted_result()
    row = result.to_dict()["methods"][1]
    assert row["mouth_error_to_affine"] == pytest.approx(0.5)
    assert row["mouth_error"] == pytest.approx(0.075)
    assert row["nme_x10"] == pytest.approx(0.75)
    assert row["faces_missed"] == 1
    assert row["lpips"] is None


def test_tables_have_the_papers_form():
    text = scripted_result().to_markdown()
    lines = text.splitlines()
    heading = next(line for line in lines if "GMACs" in line)
    cells = [cell.strip() for cell in heading.strip("|").split("|")]
    assert cells == ["Method", "LPIPS↓", "SSIM↑", "CSIM↑", "NME×10↓", "GMACs↓", "Init. (ms)↓", "Inf. (ms)↓"]
    assert "- Not available: LPIPS: needs a file" in lines
    assert "no face (of 3)" in text


def test_undetected_faces_are_counted(data):
    case = case_of(data)
    known = scaled_landmarks(case.targets[0])
    detector = ScriptedLandmarker(known)
    meter = Meter(landmarker=detector)
    shown, hidden = (np.full((SIZE, SIZE, 3), value, np.uint8) for value in (1, 0))
    truth = meter.prepare_truth([shown, shown, hidden])
    scores = meter.score([shown, hidden, shown], truth)
    result = EvaluationResult((MethodResult("m", scores),), 3, None, faces_in_truth=2)
    assert result.faces_missed(result.method("m")) == 1
    assert result.method("m").mean("nme") == 0


def test_models_of_two_sizes_are_refused(model, data):
    class Other:
        config = type("Config", (), {"image_size": 128})

    with pytest.raises(InputError, match="expected the same in all models, found a: 64, b: 128"):
        evaluate_models({"a": model, "b": Other()}, data)


def test_sheet_shows_inputs_layers_and_results(model, data):
    cases = [case_of(data, 0), case_of(data, 1)]
    sheet = np.asarray(draw_sheet(model, cases))
    assert sheet.shape[1] == 10 * (SIZE + 4) - 4
    target = hardest_target(cases[1])
    assert target is cases[1].targets[-1]
    top = 20 + SIZE + 4
    shown = sheet[top : top + SIZE, SIZE + 4 : 2 * SIZE + 4]
    foreground = target.mask == 255
    assert np.array_equal(shown[foreground], target.image[foreground])
    assert (shown[target.mask == 0] == 255).all()
