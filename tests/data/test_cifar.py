"""CIFAR-10 binary batches: planes become channels, batches follow each other, pickles stay closed."""

from __future__ import annotations

import pickle

import pytest

from patchmosaic.data import load
from patchmosaic.errors import DataError, LabelError


class Bomb:
    """An object whose unpickling would raise."""

    def __reduce__(self):
        return (exec, ("raise RuntimeError('it was unpickled')",))


@pytest.fixture
def folder(tmp_path, write_cifar):
    """Five training batches of three images, labelled batch number and 9, and a test batch of two."""
    root = tmp_path / "cifar-10-batches-bin"
    for number in range(1, 6):
        write_cifar(root / f"data_batch_{number}.bin", [number, 9, number])
    write_cifar(root / "test_batch.bin", [0, 8])
    return root


def test_planes_become_channels(folder):
    image = load(folder, limit=2).images[1]
    assert image.shape == (3, 32, 32)
    assert ((image[:, 5, 7] + 1) * 127.5).round().tolist() == [1, 101, 7]  # red = i, green = 100 + i, blue = column


def test_batches_follow_each_other(folder):
    pool = load(folder)
    assert pool.labels.tolist() == [1, 9, 1, 2, 9, 2, 3, 9, 3, 4, 9, 4, 5, 9, 5]
    assert pool.class_names[9] == "truck"
    assert load(folder, split="test").labels.tolist() == [0, 8]
    assert load(folder.parent, limit=4).labels.tolist() == [1, 9, 1, 2]  # the archive's folder is looked into


def test_classes_across_batches(folder):
    pool = load(folder, classes=["bird", 4])
    assert pool.labels.tolist() == [2, 2, 4, 4]
    red = ((pool.images[:, 0, 0, 0] + 1) * 127.5).round()
    assert red.tolist() == [0, 2, 0, 2]


def test_one_batch_by_path(folder):
    assert load(folder / "data_batch_3.bin").labels.tolist() == [3, 9, 3]


def test_missing_batch_is_named(folder):
    (folder / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_4\.bin"):
        load(folder)
    assert len(load(folder, split="test")) == 2


@pytest.mark.parametrize("cut", [1, 3073 - 1, 5000])
def test_truncated_names_the_record(folder, cut):
    path = folder / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-cut])
    record = (3 * 3073 - cut) // 3073
    with pytest.raises(DataError, match=rf"data_batch_2\.bin: .* multiple of 3073 bytes, .* within record {record}"):
        load(folder)


def test_empty_file(folder):
    (folder / "data_batch_2.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"data_batch_2\.bin: .* got 0 bytes"):
        load(folder)


def test_label_out_of_range(folder, write_cifar):
    write_cifar(folder / "data_batch_2.bin", [2, 9, 10])
    with pytest.raises(LabelError, match=r"data_batch_2\.bin, record 2: labels must be from 0 to 9, got 10"):
        load(folder)


@pytest.mark.parametrize("name", ["data_batch_1", "cifar-10-batches-py/data_batch_1"])
def test_pickles_stay_closed(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(Bomb()))
    for given in (tmp_path, path):
        with pytest.raises(DataError, match=r"unpickling runs code, got .*cifar-10-binary\.tar\.gz"):
            load(given)
