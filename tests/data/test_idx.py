"""IDX files: known bytes in, known pixels out; every way a file can be wrong is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from patchmosaic.data import load
from patchmosaic.errors import DataError, LabelError

LABELS = [3, 1, 4, 1, 5, 9, 2]


@pytest.fixture
def images_file(tmp_path, grey, write_idx) -> Path:
    """An images file with its labels beside it."""
    write_idx(tmp_path / "train-labels-idx1-ubyte", LABELS)
    return write_idx(tmp_path / "train-images-idx3-ubyte", grey)


def test_pixels_and_labels(images_file):
    pool = load(images_file, image_size=None)
    assert pool.image_shape == (1, 4, 4)
    assert pool.labels.tolist() == LABELS
    # Record 2, row 1, column 3 is byte 2*16 + 1*4 + 3 = 39 of the values.
    assert pool.images[2, 0, 1, 3].item() == pytest.approx(39 / 127.5 - 1, abs=1e-7)


@settings(max_examples=25, deadline=None)
@given(values=arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3)), zipped=st.booleans())
def test_any_array_comes_back(tmp_path_factory, write_idx, values, zipped):
    path = tmp_path_factory.mktemp("idx") / f"x-images-idx3-ubyte{'.gz' if zipped else ''}"
    pool = load(write_idx(path, values), image_size=None)
    assert np.array_equal(((pool.images[:, 0] + 1) * 127.5).round().numpy(), values)
    assert pool.labels is None


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_folder_chooses_the_split(tmp_path, grey, write_idx, suffix):
    for word, count in (("train", 5), ("t10k", 2)):
        write_idx(tmp_path / f"{word}-images-idx3-ubyte{suffix}", grey[:count])
        write_idx(tmp_path / f"{word}-labels-idx1-ubyte{suffix}", LABELS[:count])
    assert len(load(tmp_path, image_size=None)) == 5
    assert load(tmp_path, image_size=None, split="test").labels.tolist() == LABELS[:2]


def test_a_plain_file_hides_its_gzipped_twin(images_file):
    images_file.with_name(f"{images_file.name}.gz").write_bytes(b"never read")
    assert len(load(images_file.parent, image_size=None)) == 7


def test_several_images_files_are_listed(images_file, grey, write_idx):
    write_idx(images_file.with_name("letters-train-images-idx3-ubyte"), grey)
    with pytest.raises(DataError, match=r"letters-train-images-idx3-ubyte, train-images-idx3-ubyte"):
        load(images_file.parent)


def test_folder_without_the_split(images_file):
    with pytest.raises(DataError, match=r"no such split, got 'test'. There is: train"):
        load(images_file.parent, split="test")


def test_folder_without_labels(images_file):
    images_file.with_name("train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="no labels file for train-images-idx3-ubyte"):
        load(images_file.parent)
    assert load(images_file, image_size=None).labels is None


def test_truncated_names_the_record(images_file):
    images_file.write_bytes(images_file.read_bytes()[:-40])  # 72 of 112 bytes are left: 4 whole records and a half
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: truncated within record 4 of 7 \(72 of 112"):
        load(images_file)


def test_truncated_header(tmp_path):
    path = tmp_path / "a-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(DataError, match=r"a-images-idx3-ubyte: truncated within the header of 16 bytes, got 6"):
        load(path)


def test_trailing_bytes(tmp_path, grey, write_idx):
    path = write_idx(tmp_path / "a-images-idx3-ubyte", grey, tail=b"12345")
    with pytest.raises(DataError, match=r"a-images-idx3-ubyte: 5 bytes follow the last of its 7 records"):
        load(path)


def test_truncated_gzip(tmp_path, grey, write_idx):
    path = write_idx(tmp_path / "a-images-idx3-ubyte.gz", grey)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"a-images-idx3-ubyte\.gz: cannot be read"):
        load(path)


def test_damaged_gzip(tmp_path, grey, write_idx):
    path = write_idx(tmp_path / "a-images-idx3-ubyte.gz", grey)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the checksum
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a-images-idx3-ubyte\.gz: cannot be read"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"<html>not found</html>", gzip.compress(b"<html>")])
def test_wrong_magic(tmp_path, content):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"idx3-ubyte\.gz: an IDX file starts with two zero bytes"):
        load(path)


def test_wrong_type_code(tmp_path, grey, write_idx):
    path = write_idx(tmp_path / "a-images-idx3-ubyte", grey, dtype_code=0x0D)
    with pytest.raises(DataError, match=r"a-images-idx3-ubyte: values must be unsigned bytes, .* got 0x0d"):
        load(path)


def test_labels_given_as_images(images_file):
    with pytest.raises(DataError, match="idx1-ubyte: images have 3 dimensions, got 1"):
        load(images_file.with_name("train-labels-idx1-ubyte"))


def test_more_labels_than_images(images_file, write_idx):
    write_idx(images_file.with_name("train-labels-idx1-ubyte"), [*LABELS, 0])
    with pytest.raises(DataError, match=r"images-idx3-ubyte and .*labels-idx1-ubyte .* got 7 images and 8 labels"):
        load(images_file)


@pytest.mark.parametrize("dims", [(0, 4, 4), (3, 0, 4)])
def test_no_images(tmp_path, write_idx, dims):
    with pytest.raises(DataError, match=r"a-images-idx3-ubyte: holds no images"):
        load(write_idx(tmp_path / "a-images-idx3-ubyte", [], dims=dims))


def test_absurd_dimensions_do_not_allocate(tmp_path, write_idx):
    path = write_idx(tmp_path / "a-images-idx3-ubyte", [1, 2, 3], dims=(2**32 - 1,) * 3)
    with pytest.raises(DataError, match="truncated within record 0"):
        load(path)


def test_known_name_bounds_the_labels(data_root, grey, write_idx):
    write_idx(data_root / "mnist" / "train-images-idx3-ubyte", grey)
    write_idx(data_root / "mnist" / "train-labels-idx1-ubyte", [0, 1, 2, 3, 4, 10, 11])
    with pytest.raises(LabelError, match=r"train-images-idx3-ubyte, record 5: labels must be from 0 to 9, got 10"):
        load("mnist")
