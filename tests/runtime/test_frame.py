"""Results of a network out of its tensors, by the contract."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilayer.runtime.bundle import Channels, Outputs
from bilayer.runtime.frame import NetworkOutputs, OutputsView

SIZE = 4
MERGED = Outputs(Channels("layers", 0, 2), Channels("layers", 2, 5), Channels("layers", 5, 6, 0.5, 0.5))
APART = Outputs(Channels("uv", 0, 2), Channels("rgb", 1, 4, 2.0, -1.0), None)


def tensors(seed=0, dtype=np.float32):
    numbers = np.random.default_rng(seed)
    return {name: numbers.uniform(-1, 1, (1, 6, SIZE, SIZE)).astype(dtype) for name in ("layers", "uv", "rgb")}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_result_is_its_channels_times_scale_plus_offset(dtype):
    given = tensors(dtype=dtype)
    found = NetworkOutputs.read(MERGED, given)
    np.testing.assert_array_equal(found.delta_uv, given["layers"][0, :2])
    np.testing.assert_array_equal(found.lf_rgb, given["layers"][0, 2:5])
    np.testing.assert_array_equal(found.seg, given["layers"][0, 5:] * dtype(0.5) + dtype(0.5))
    assert {values.dtype for values in found.by_name.values()} == {np.dtype(dtype)}


def test_a_network_without_a_mask_has_none():
    given = tensors()
    found = NetworkOutputs.read(APART, given)
    assert list(found.by_name) == ["delta_uv", "lf_rgb"]
    assert (found.seg, found.copy().seg, found.drawable().seg) == (None, None, None)
    np.testing.assert_array_equal(found.lf_rgb, given["rgb"][0, 1:4] * np.float32(2) - np.float32(1))


@given(st.integers(0, 1000))
def test_a_view_follows_its_tensors_in_the_same_arrays(seed):
    given = tensors()
    view = OutputsView(MERGED, given)
    first = view.refresh()
    arrays, kept = [id(values) for values in first.by_name.values()], first.copy()
    for name, values in tensors(seed + 1).items():
        given[name][...] = values
    again = view.refresh()
    assert again is first
    assert [id(values) for values in again.by_name.values()] == arrays
    expected = NetworkOutputs.read(MERGED, tensors(seed + 1))
    for name, values in expected.by_name.items():
        np.testing.assert_array_equal(again.by_name[name], values)
        np.testing.assert_array_equal(kept.by_name[name], NetworkOutputs.read(MERGED, tensors()).by_name[name])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_counted_and_drawn_as_zero(value):
    given = tensors(dtype=np.float64)
    given["layers"][0, 3, 1, 2] = value
    found = NetworkOutputs.read(MERGED, given)
    assert found.not_finite == (not np.isfinite(value))
    drawn = found.drawable()
    assert (drawn.not_finite, drawn.lf_rgb[1, 1, 2]) == (0, 0)
    given["layers"][0, 3, 1, 2] = 0
    for name, values in found.by_name.items():
        assert drawn.by_name[name].dtype == np.float32
        assert drawn.by_name[name].flags.c_contiguous
        np.testing.assert_array_equal(drawn.by_name[name], values.astype(np.float32))


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.25), (2.0, 0.0), (1.0, 0.0), (-1.0, 1.0)])
def test_scale_and_offset_count_alone_too(scale, offset):
    outputs = Outputs(Channels("uv", 0, 2, scale, offset), Channels("rgb", 1, 4), None)
    given = tensors()
    for found in (NetworkOutputs.read(outputs, given), OutputsView(outputs, given).refresh()):
        np.testing.assert_array_equal(found.delta_uv, given["uv"][0, :2] * np.float32(scale) + np.float32(offset))
