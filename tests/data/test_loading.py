"""load: names, choices, scale and size; what is the same whatever the format."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from patchmosaic.data import found, load
from patchmosaic.errors import DataError, LabelError, ShapeError


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    pool, bunch = load("digits", image_size=None), load_digits()
    assert pool.image_shape == (1, 8, 8)
    assert np.array_equal((pool.images[:, 0].numpy() + 1) * 8, bunch.images)
    assert pool.labels.tolist() == bunch.target.tolist()
    assert (pool.images.min(), pool.images.max()) == (-1, 1)


def test_digits_default_size():
    pool = load("digits", limit=5)
    assert pool.image_shape == (1, 32, 32)
    assert pool.name == "digits"
    assert pool.images.abs().max() <= 1


def test_digits_have_one_split():
    with pytest.raises(DataError, match=r"digits has no such split, got 'test'. There is: train. .*split\(held_out\)"):
        load("digits", split="test")


def test_classes_keep_their_numbers_and_order():
    whole = load("digits", None)
    some = load("digits", None, classes=[7, "2"])
    keep = [i for i, label in enumerate(whole.labels.tolist()) if label in (2, 7)]
    assert torch.equal(some.images, whole.images[keep])
    assert some.classes == (2, 7)


def test_limit_follows_classes():
    assert load("digits", None, classes=3, limit=4).labels.tolist() == [3, 3, 3, 3]
    assert len(load("digits", None, limit=10**9)) == 1797


@pytest.mark.parametrize("classes", [10, "ten", -1, [3, "3.0"]])
def test_unknown_class_lists_the_known(classes):
    with pytest.raises(LabelError, match=r"no image of this class, got .*Known: 0 0, 1 1, .* 9 9\."):
        load("digits", classes=classes)


def test_no_classes():
    with pytest.raises(LabelError, match="at least one class"):
        load("digits", classes=[])


def test_classes_without_labels(tmp_path, grey):
    np.savez(tmp_path / "a.npz", images=grey)
    with pytest.raises(LabelError, match=r"a\.npz has no labels to choose classes by, got \[1\]"):
        load(tmp_path / "a.npz", classes=[1])


@pytest.mark.parametrize("limit", [0, -3])
def test_limit_below_one(limit):
    with pytest.raises(DataError, match=f"limit must be at least 1, got {limit}"):
        load("digits", limit=limit)


@pytest.mark.parametrize("size", [0, -32])
def test_size_below_one(size):
    with pytest.raises(ShapeError, match=f"image_size must be at least 1, got {size}"):
        load("digits", image_size=size)


def test_images_that_are_not_square(tmp_path, grey):
    np.savez(tmp_path / "a.npz", images=grey[:, :3])
    with pytest.raises(ShapeError, match=r"a\.npz: only square images are resized, got 3x4\. image_size=None"):
        load(tmp_path / "a.npz")
    assert load(tmp_path / "a.npz", None).image_shape == (1, 3, 4)


@pytest.mark.parametrize(("size", "dtype"), [(None, torch.uint8), (4, torch.uint8), (5, torch.float32)])
def test_bytes_stay_bytes_where_nothing_is_interpolated(tmp_path, grey, size, dtype):
    np.savez(tmp_path / "a.npz", images=grey)
    pool = load(tmp_path / "a.npz", size)
    assert pool.stored.dtype == dtype
    assert pool.stored.is_contiguous()


def test_equal_size_is_not_interpolated(tmp_path, grey):
    np.savez(tmp_path / "a.npz", images=grey)
    assert load(tmp_path / "a.npz", 4).content_hash == load(tmp_path / "a.npz", None).content_hash


@settings(max_examples=20, deadline=None)
@given(image=arrays(np.uint8, (28, 28)), size=st.sampled_from([8, 14, 20, 32, 64]))
def test_resize_agrees_with_pillow(tmp_path_factory, image, size):
    """Pillow's bilinear filter is the same triangle with antialiasing; its float mode rounds nowhere."""
    path = tmp_path_factory.mktemp("resize") / "a.npz"
    np.savez(path, images=image[None])
    expected = Image.fromarray(image.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    got = (load(path, size).images[0, 0].numpy() + 1) * 127.5
    assert np.abs(got - np.asarray(expected)).max() < 1e-3


def test_many_images_are_scaled_in_chunks_alike(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5000, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    whole = load(tmp_path / "a.npz", 6)
    assert torch.equal(whole.images[:100], load(tmp_path / "a.npz", 6, limit=100).images)
    expected = torch.from_numpy(images[:, None] / 127.5 - 1)  # float64
    assert (load(tmp_path / "a.npz", None).images - expected).abs().max() < 1e-6


def test_names_are_found_below_the_variable(data_root, write_cifar, write_idx, grey, encode):
    for number in range(1, 6):
        write_cifar(data_root / "cifar10" / "cifar-10-batches-bin" / f"data_batch_{number}.bin", [number])
    write_idx(data_root / "fashion_mnist" / "raw" / "train-images-idx3-ubyte", grey)
    write_idx(data_root / "fashion_mnist" / "raw" / "train-labels-idx1-ubyte", list(range(7)))
    (data_root / "mine").mkdir()
    (data_root / "mine" / "1.png").write_bytes(encode(grey[0]))
    (data_root / "nothing").mkdir()
    assert found() == {name: data_root / name for name in ("cifar10", "fashion_mnist", "mine")}
    assert load("cifar10").labels.tolist() == [1, 2, 3, 4, 5]
    pool = load("fashion_mnist", None, classes="Sandal")
    assert (pool.name, pool.labels.tolist(), pool.class_names[9]) == ("fashion_mnist", [5], "Ankle boot")
    assert load("mine", None).name == "mine"


def test_unknown_name_says_what_there_is(data_root, monkeypatch, encode, grey):
    (data_root / "mine").mkdir()
    (data_root / "mine" / "1.png").write_bytes(encode(grey[0]))
    with pytest.raises(DataError, match=r"'mnits'\. Built in: digits\. .*mnist, fashion_mnist, cifar10.*root: mine\."):
        load("mnits")
    monkeypatch.setenv("PATCHMOSAIC_DATA", str(data_root / "away"))
    with pytest.raises(DataError, match=r"PATCHMOSAIC_DATA is .*away: but there is no such folder"):
        load("mnist")
    assert found() == {}
    monkeypatch.delenv("PATCHMOSAIC_DATA")
    with pytest.raises(DataError, match="PATCHMOSAIC_DATA is not set"):
        load("mnist")
    assert found() == {}


def test_missing_path(tmp_path):
    with pytest.raises(DataError, match=r"no such file or folder, got .*away\.npz"):
        load(tmp_path / "away.npz")
    with pytest.raises(DataError, match=r"no such file or folder, got .*away"):
        load(str(tmp_path / "away"))


def test_relative_names_are_looked_up_here(tmp_path, monkeypatch, grey):
    monkeypatch.chdir(tmp_path)
    np.savez("here.npz", images=grey)
    assert len(load("here.npz", None)) == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.zip", "an archive that must be unpacked first"), ("a.tar.gz", "unpacked"), ("a.pt", "a file of no known format")],
)
def test_unknown_files(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"\x80 something")
    with pytest.raises(DataError, match=rf"{message}.*got .*{name}"):
        load(tmp_path / name)


def test_importing_is_light():
    """Neither optional packages nor scikit-learn are imported before a reader needs them."""
    heavy = "sorted({'sklearn', 'pyarrow', 'datasets', 'pandas'} & set(sys.modules))"
    code = f"import sys, patchmosaic.data; sys.exit(str({heavy}) if {heavy} else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
