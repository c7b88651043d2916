"""The published facts of the real sets: counts, classes, first labels, and the checksums of the original files."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from patchmosaic.data import found, load
from patchmosaic.data.sources import open_records

pytest.importorskip("pyarrow")


@pytest.fixture(autouse=True)
def _variable(real_data, monkeypatch):
    monkeypatch.setenv("PATCHMOSAIC_DATA", str(real_data))


def need(name):
    if name not in found():
        pytest.skip(f"real data not found: {name} is not below PATCHMOSAIC_DATA")


def as_bytes(pool):
    return ((pool.images + 1) * 127.5).round().byte().numpy()


@pytest.mark.parametrize(
    ("name", "shape", "first"),
    [
        ("mnist", (1, 28, 28), [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
        ("fashion_mnist", (1, 28, 28), [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
        ("cifar10", (3, 32, 32), [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]),
        ("faces64", (3, 64, 64), [3, 1, 0, 0, 1, 0, 0, 5, 3, 2]),
    ],
)
def test_shape_and_first_labels(real_data, name, shape, first):
    need(name)
    assert found()[name] == real_data / name
    pool = load(name, image_size=None, limit=10)
    assert pool.image_shape == shape
    assert pool.labels.tolist() == first
    assert load(name, limit=10).image_shape == (shape[0], 32, 32)


# Counts a class, and the first image, of the official releases.
@pytest.mark.parametrize(
    ("name", "split", "counts"),
    [
        ("mnist", "train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("mnist", "test", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("fashion_mnist", "train", [6000] * 10),
        ("cifar10", "train", [5000] * 10),
        ("cifar10", "test", [1000] * 10),
        ("faces64", "train", [401, 280, 147, 124, 36, 12]),
    ],
)
def test_class_counts(name, split, counts):
    """Read from the labels of all records; no picture is decoded."""
    need(name)
    records = open_records(name, split)
    assert np.bincount(records.labels).tolist() == counts


def test_mnist_test_images_are_the_original_file():
    """MD5 of t10k-images-idx3-ubyte as its authors distribute it."""
    need("mnist")
    pool = load("mnist", image_size=None, split="test")
    original = struct.pack(">4I", 0x803, 10_000, 28, 28) + as_bytes(pool).tobytes()
    assert hashlib.md5(original).hexdigest() == "2646ac647ad5339dbf082846283269ea"


def test_cifar_test_images_are_the_original_file():
    """SHA-1 of test_batch.bin: every label, then the planes of its image."""
    need("cifar10")
    pool = load("cifar10", split="test")
    records = np.concatenate([pool.labels.numpy()[:, None].astype(np.uint8), as_bytes(pool).reshape(10_000, -1)], axis=1)
    assert hashlib.sha1(records.tobytes()).hexdigest() == "67eb016db431130d61cd03c7ad570b013799c88c"


def test_class_by_name_reaches_beyond_the_first_shard():
    need("cifar10")
    pool = load("cifar10", classes=["cat"], limit=1100)  # file 1 has about a thousand cats
    assert pool.labels.unique().tolist() == [3]
    assert len(pool) == 1100
