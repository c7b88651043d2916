""".npz archives: the rules for layout and value range, and that what they do not settle is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from patchmosaic.data import load
from patchmosaic.errors import DataError, LabelError, ShapeError, ValueRangeError


@pytest.fixture
def save(tmp_path):
    """np.savez into pool.npz; returns its path."""

    def write(**named):
        np.savez(tmp_path / "pool.npz", **named)
        return tmp_path / "pool.npz"

    return write


@pytest.fixture
def colour():
    """Five 4x6 RGB images, (N, H, W, C), every value different within an image."""
    return np.arange(5 * 4 * 6 * 3, dtype=np.uint16).reshape(5, 4, 6, 3).astype(np.uint8)


def pixel(value):
    return pytest.approx(value / 127.5 - 1, abs=1e-6)


@pytest.mark.parametrize("key", ["images", "x", "arr_0", "train_images", "x_train"])
def test_names_of_the_images(save, grey, key):
    assert load(save(**{key: grey}), image_size=None).images[1, 0, 0, 2].item() == pixel(18)


def test_split_arrays(save, grey):
    path = save(x_train=grey[:4], y_train=np.arange(4), x_test=grey[4:], y_test=np.arange(3))
    assert len(load(path, None)) == 4
    assert load(path, None, split="test").labels.tolist() == [0, 1, 2]


def test_layouts_agree(save, colour):
    first = load(save(images=colour), None)
    second = load(save(images=colour.transpose(0, 3, 1, 2)), None)
    assert first.image_shape == (3, 4, 6)
    assert first.content_hash == second.content_hash
    assert first.images[0, 1, 2, 3].item() == pixel(2 * 18 + 3 * 3 + 1)  # channel 1, row 2, column 3


@pytest.mark.parametrize("shape", [(2, 3, 8, 3), (2, 1, 8, 1), (2, 8, 8, 4), (8, 8, 3), (8, 8), (1, 2, 8, 8, 3)])
def test_ambiguous_layout(save, shape):
    with pytest.raises(ShapeError, match=r"pool\.npz: cannot tell which dimensions .*NHWC"):
        load(save(images=np.zeros(shape, np.uint8)))


def test_layout_said(save):
    images = np.arange(2 * 3 * 8 * 3, dtype=np.uint8).reshape(2, 3, 8, 3)
    assert load(save(images=images, layout="NCHW"), None).image_shape == (3, 8, 3)
    assert load(save(images=images, layout="NHWC"), None).image_shape == (3, 3, 8)
    assert load(save(images=images[0], layout="NHW"), None).image_shape == (1, 8, 3)
    with pytest.raises(ShapeError, match="layout='NHW'"):
        load(save(images=images, layout="NHW"))


@settings(max_examples=30, deadline=None)
@given(
    images=arrays(np.float32, (3, 4, 4), elements=st.floats(-1, 1, width=32)),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_signed_floats_are_taken_as_they_are(tmp_path_factory, images, dtype):
    images[0, 0, 0] = -1
    path = tmp_path_factory.mktemp("npz") / "pool.npz"
    np.savez(path, images=images.astype(dtype))
    assert np.array_equal(load(path, None).images[:, 0].numpy(), images)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_unit_floats_are_doubled(save, dtype):
    images = np.array([0, 0.25, 0.5, 1], dtype).reshape(1, 2, 2)
    assert load(save(images=images), None).images.flatten().tolist() == [-1, -0.5, 0, 1]


def test_limit_does_not_change_what_a_pixel_means(save):
    images = np.array([0.5, -1.0], np.float32).repeat(16).reshape(2, 4, 4)
    assert load(save(images=images), None, limit=1).images.unique().tolist() == [0.5]


def test_rounding_below_zero_is_not_a_sign(save):
    images = np.array([-1e-8, 0.5, 0.5, 1]).reshape(1, 2, 2)
    assert load(save(images=images), None).images.flatten().tolist() == [-1, 0, 0, 1]


def test_value_range_said(save):
    images = np.array([0, 4, 8, 16]).reshape(1, 2, 2)
    assert load(save(images=images, value_range=(0, 16)), None).images.flatten().tolist() == [-1, -0.5, 0, 1]


@pytest.mark.parametrize("value_range", [(1, 0), (0, 1, 2), (0, np.nan)])
def test_value_range_said_badly(save, grey, value_range):
    with pytest.raises(ValueRangeError, match=r"pool\.npz: value_range must be two rising numbers"):
        load(save(images=grey, value_range=value_range))


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 1.01), (-2, 1), (-1, 1.5)])
def test_unknown_range_names_the_record(save, low, high):
    images = np.full((4, 4, 4), 0.5)
    images[2, 0, 0], images[2, 1, 1] = low, high
    with pytest.raises(ValueRangeError, match=rf"pool\.npz, record 2: values must lie in .* got \[{low or '0.5|0'}"):
        load(save(images=images))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_names_the_record(save, bad):
    images = np.zeros((4, 4, 4), np.float32)
    images[3, 1, 2] = bad
    with pytest.raises(ValueRangeError, match=r"pool\.npz, record 3: images must be finite"):
        load(save(images=images))


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, bool, np.complex64, "U3"])
def test_other_types(save, grey, dtype):
    with pytest.raises(ValueRangeError, match=r"pool\.npz: .* must be uint8"):
        load(save(images=grey.astype(dtype)))


def test_labels_and_names(save, grey):
    path = save(images=grey, labels=np.array([[0], [1], [0], [1], [0], [1], [1]]), class_names=["no", "yes"])
    pool = load(path, None, classes="yes", limit=3)
    assert pool.labels.tolist() == [1, 1, 1]
    assert [int(i) for i in ((pool.images[:, 0, 0, 0] + 1) * 127.5).round()] == [16, 48, 80]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(6), r"pool\.npz: labels must be one a image, got \(6,\) for 7"),
        (np.eye(7, dtype=int), r"pool\.npz: labels must be \(N,\) or \(N, 1\), got \(7, 7\)"),
        (np.arange(7.0), r"pool\.npz: labels must be whole numbers, got float64"),
        (np.array([0, 1, 2, -1, 0, 0, 0]), r"pool\.npz, record 3: labels must be whole numbers from 0 up, got -1"),
    ],
)
def test_wrong_labels(save, grey, labels, message):
    with pytest.raises(LabelError, match=message):
        load(save(images=grey, labels=labels))


def test_label_beyond_the_names(save, grey):
    with pytest.raises(LabelError, match=r"pool\.npz, record 4: labels must be from 0 to 3, got 4"):
        load(save(images=grey, labels=np.arange(7), class_names=list("abcd")))


def test_no_images(save):
    with pytest.raises(DataError, match=r"pool\.npz has no array of images for 'train', got pixels"):
        load(save(pixels=np.zeros((2, 4, 4), np.uint8)))
    with pytest.raises(DataError, match=r"pool\.npz: holds no images"):
        load(save(images=np.zeros((0, 4, 4), np.uint8)))


def test_objects_stay_closed(save, grey):
    with pytest.raises(DataError, match=r"pool\.npz: cannot be read as a \.npz archive .*are pickles"):
        load(save(images=np.array([grey, None], object)))


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_truncated(save, grey, keep):
    path = save(images=grey)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"pool\.npz: cannot be read"):
        load(path)
