from pathlib import Path

import numpy as np
import pytest

from bilayer.runtime.errors import InputError
from bilayer.training.heads import ict_facekit
from bilayer.training.heads.load import EXPRESSION_NAMES, load_head_model

ICT = Path(__file__).parents[3] / "shared" / "data" / "ict-facekit"
needs_ict = pytest.mark.skipif(not ICT.is_dir(), reason="the reduced ICT-FaceKit model is not here")
SHAPES = ("jawOpen", "eyeBlink_L", "eyeBlink_R", "mouthSmile_L", "mouthSmile_R", "mouthPucker", "browInnerUp_L")


@pytest.fixture(scope="module", params=["ellipsoid", pytest.param("ict", marks=needs_ict)])
def model(request):
    return load_head_model(None if request.param == "ellipsoid" else ICT)


def tiny_fields():
    """The reduced form of a head of 40 vertices, whole but meaningless."""
    rng = np.random.default_rng(0)
    return {
        "V": rng.normal(size=(40, 3)).astype(np.float32),
        "T": rng.integers(0, 40, (50, 3), dtype=np.uint16),
        "TT": rng.integers(0, 30, (50, 3), dtype=np.uint16),
        "uv": rng.random((30, 2)).astype(np.float16),
        "part": rng.integers(0, 9, 40, dtype=np.uint8),
        "lm": np.arange(68) % 40,
        "ID": rng.integers(-127, 128, (3, 40, 3), dtype=np.int8),
        "IDs": np.full(3, 0.01, np.float32),
        "EX": rng.integers(-127, 128, (53, 40, 3), dtype=np.int8),
        "EXs": np.full(53, 0.01, np.float32),
    }


def write_model(folder, **changes):
    fields = {name: value for name, value in {**tiny_fields(), **changes}.items() if value is not None}
    np.savez(folder / "head_model.npz", **fields)
    return folder


def test_a_head_has_all_parts_and_consistent_arrays(model):
    count = len(model.vertices)
    assert model.landmarks.shape == (68,)
    assert len(set(model.landmarks.tolist())) == 68
    assert model.identity_modes.shape[1:] == model.expression_shapes.shape[1:] == (count, 3)
    assert len(model.identity_modes) >= 3
    assert len(model.expression_shapes) == len(model.expression_names)
    assert set(SHAPES) <= set(model.expression_names) <= set(EXPRESSION_NAMES)
    assert model.triangles.shape == model.uv_triangles.shape
    assert model.ambient_occlusion.shape == (count,)
    assert 0 <= model.ambient_occlusion.min() < 0.3 < 0.8 < model.ambient_occlusion.max() <= 1


def test_landmarks_lie_as_ibug_orders_them(model):
    x, y, _ = model.vertices[model.landmarks].T
    assert np.all(np.diff(x[:17]) > 0)  # jaw, from the subject's right
    assert y[8] == y[:17].min()
    assert np.all(np.diff(x[17:27]) > 0)  # brows
    assert np.all(np.diff(y[27:31]) < 0)  # down the nose
    assert x[36] < x[39] < x[42] < x[45]
    assert y[37] > y[41]
    assert y[44] > y[46]
    assert x[48] < x[60] < x[64] < x[54]
    assert y[51] > y[62] >= y[66] > y[57]


def test_shapes_move_what_they_name(model):
    def shift(name):
        return model.expression_shapes[model.expression_index(name)][model.landmarks]

    assert shift("jawOpen")[66, 1] < -1 < -0.5 < shift("jawOpen")[62, 1]
    assert shift("eyeBlink_L")[[43, 44], 1].max() < -0.3
    assert np.abs(shift("eyeBlink_L")[36:42]).max() < 0.1
    assert shift("mouthSmile_R")[48, 1] > 0.3 > np.abs(shift("mouthSmile_R")[54]).max()
    assert shift("browInnerUp_L")[22, 1] > 0.3


def test_an_unknown_expression_is_a_key_error(model):
    with pytest.raises(KeyError, match="earWiggle"):
        model.expression_index("earWiggle")


def test_a_reduced_file_loads_and_its_scales_apply(tmp_path):
    fields = tiny_fields()
    head = load_head_model(write_model(tmp_path))
    np.testing.assert_allclose(head.identity_modes, fields["ID"] * np.float32(0.01))
    assert head.expression_names == EXPRESSION_NAMES
    assert head.ambient_occlusion.shape == (40,)


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"lm": None}, "field lm", "missing"),
        ({"V": np.zeros((40, 2), np.float32)}, "field V", "any x 3"),
        ({"V": np.full((40, 3), np.nan, np.float32)}, "field V", "not finite"),
        ({"T": np.full((50, 3), 40)}, "field T", "0..39"),
        ({"T": np.full((50, 3), 1.5)}, "field T", "whole numbers"),
        ({"TT": np.full((50, 3), -1)}, "field TT", "0..29"),
        ({"part": np.full(40, 9, np.uint8)}, "field part", "0..8"),
        ({"lm": np.arange(67)}, "field lm", "68"),
        ({"ID": np.zeros((3, 39, 3), np.int8)}, "field ID", "40"),
        ({"EXs": np.zeros(52, np.float32)}, "field EXs", "53"),
        ({"names": np.array(["jawOpen"])}, "field EX", "expected 1"),
        ({"part": np.zeros(40, np.uint8)}, "field part", "part 5"),
        ({"names": np.array([f"shape{k}" for k in range(53)])}, "field names", "eyeBlink_L"),
        ({"V": np.array(["a"] * 40)}, "field V", "numbers"),
        ({"names": np.array("jawOpen")}, "field EX", "expected 1"),
    ],
)
def test_a_bad_field_is_named(tmp_path, changes, field, expected):
    with pytest.raises(InputError, match=r"head_model\.npz") as caught:
        load_head_model(write_model(tmp_path, **changes))
    message = str(caught.value)
    assert field in message
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("vertices", "occlusion"), [(0.0, np.ones(40)), (np.zeros((40, 3)), np.array(["a"] * 40)), (None, np.ones(()))]
)
def test_an_occlusion_that_does_not_fit_is_named(tmp_path, vertices, occlusion):
    write_model(tmp_path, V=vertices)
    np.save(tmp_path / "ambient_occlusion.npy", occlusion)
    with pytest.raises(InputError, match=r"ambient_occlusion\.npy: expected \d+ finite numbers, one a vertex"):
        load_head_model(tmp_path)


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "head_model.npz", V=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"head_model\.npz"):
        load_head_model(tmp_path)


def test_a_folder_without_a_model_says_what_it_expects(tmp_path):
    with pytest.raises(InputError, match=r"head_model\.npz, or an ICT-FaceKit checkout"):
        load_head_model(tmp_path)


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "head_model.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match=r"head_model\.npz"):
        load_head_model(tmp_path)


@pytest.mark.parametrize("content", [np.ones(39, np.float32), np.full(40, np.nan, np.float32)])
def test_bad_occlusion_is_named(tmp_path, content):
    write_model(tmp_path)
    np.save(tmp_path / "ambient_occlusion.npy", content)
    with pytest.raises(InputError, match=r"ambient_occlusion\.npy.*40"):
        load_head_model(tmp_path)


# --- a checkout -------------------------------------------------------------------------------------------------------


def write_obj(file, positions, faces=()):
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in positions]
    lines += ["vt 0.25 0.5", "vt 0.5 0.5", "vt 0.5 0.75", "vt 1.25 0.5"]
    lines += ["f " + " ".join(f"{v + 1}/{t + 1}/{v + 1}" for v, t in face) for face in faces]
    file.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout of the right topology with random positions, two identity modes and three expressions."""
    root = tmp_path_factory.mktemp("checkout")
    folder = root / "FaceXModel"
    folder.mkdir()
    positions = np.random.default_rng(1).normal(size=(ict_facekit.NUM_VERTICES, 3)) * 5
    faces = [
        [(0, 0), (1, 1), (2, 2), (3, 3)],  # a quad of the face
        [(21451, 0), (21452, 1), (21453, 2)],  # a triangle of the left sclera
        [(13300, 0), (13301, 1), (13302, 2)],  # an eye socket, which is left out
        [(0, 0), (1, 1), (26000, 2)],  # hangs on an eyelash, which is left out
    ]
    write_obj(folder / "generic_neutral_mesh.obj", positions, faces)
    for number, name in enumerate(
        ("identity000", "identity001", "jawOpen", "eyeBlink_L", "PupilDilate_L", "eyeBlink_R")
    ):
        moved = positions.copy()
        moved[number] += (0, 1.27, 0)
        write_obj(folder / f"{name}.obj", moved)
    return root


def test_a_checkout_reduces_to_what_is_drawn(checkout):
    fields = ict_facekit.read_checkout(checkout)
    assert fields["names"].tolist() == ["eyeBlink_L", "eyeBlink_R", "jawOpen"]
    assert fields["T"].tolist() == [[0, 1, 2], [0, 2, 3], [9409 + 1839 + 2046 + 2977 + 4412 + k for k in range(3)]]
    np.testing.assert_array_equal(
        fields["uv"][fields["TT"][1]], np.array([[0.25, 0.5], [0.5, 0.75], [1.25, 0.5]], np.float32)
    )
    assert np.bincount(fields["part"]).tolist() == [9409, 1839, 2046, 2977, 4412, 770, 800, 770, 800]
    moved = fields["ID"][1] * fields["IDs"][1]
    assert moved[1, 1] == pytest.approx(1.27, abs=1e-5)
    assert np.abs(np.delete(moved, 1, axis=0)).max() < 1e-5


def test_a_reduced_checkout_loads_like_the_checkout(checkout, tmp_path):
    file = ict_facekit.reduce_checkout(checkout, tmp_path / "reduced")
    assert file.name == "head_model.npz"
    first, second = load_head_model(checkout), load_head_model(tmp_path / "reduced")
    np.testing.assert_array_equal(first.expression_shapes, second.expression_shapes)
    np.testing.assert_array_equal(first.ambient_occlusion, second.ambient_occlusion)
    assert first.expression_names == second.expression_names == ("eyeBlink_L", "eyeBlink_R", "jawOpen")


@needs_ict
def test_landmark_vertices_are_those_of_the_reduced_file():
    assert load_head_model(ICT).landmarks.tolist() == list(ict_facekit.LANDMARK_VERTICES)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"generic_neutral_mesh\.obj"):
        ict_facekit.reduce_checkout(tmp_path, tmp_path / "out")


def test_a_pointer_in_place_of_a_mesh_is_named(tmp_path):
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    (folder / "generic_neutral_mesh.obj").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"generic_neutral_mesh\.obj: field v: expected 26719 .* found 0"):
        load_head_model(tmp_path)
