"""Folders of pictures, and what is done with each kind of picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from patchmosaic.data import load, pictures
from patchmosaic.errors import DataError

RED = np.zeros((4, 4, 3), np.uint8) + np.array([200, 10, 30], np.uint8)


@pytest.fixture
def write(tmp_path, encode):
    """Write pictures below tmp_path: {"cat/1.png": array or pillow image or bytes}; returns tmp_path."""

    def write_all(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else encode(content))
        return tmp_path

    return write_all


def values(images):
    return ((images + 1) * 127.5).round().int()


def test_class_folders(write, grey):
    root = write({"dog/b.png": grey[1], "cat/z.png": grey[2], "dog/a.png": grey[3], "cat/README.md": b"", ".git/x.png": b""})
    pool = load(root, image_size=None)
    assert pool.class_names == ("cat", "dog")
    assert pool.labels.tolist() == [0, 1, 1]
    assert values(pool.images[:, 0, 0, 0]).tolist() == [32, 48, 16]  # grey[i] starts at 16 i


def test_flat_folder(write, grey):
    root = write({"2.png": grey[0], "10.png": grey[1], "notes.txt": b"no picture"})
    pool = load(root, image_size=None)
    assert pool.labels is None
    assert values(pool.images[:, 0, 0, 0]).tolist() == [16, 0]  # sorted by name: 10.png, 2.png


def test_split_folders(write, grey):
    root = write({"train/a/1.png": grey[0], "train/b/1.png": grey[1], "test/b/1.png": grey[2], "test/a/2.png": grey[3]})
    assert values(load(root, None).images[:, 0, 0, 0]).tolist() == [0, 16]
    assert values(load(root, None, split="test").images[:, 0, 0, 0]).tolist() == [48, 32]
    with pytest.raises(DataError, match=r"no such split, got 'validation'. There is: test, train"):
        load(root, split="validation")


def test_folder_without_splits_has_no_test_split(write, grey):
    with pytest.raises(DataError, match="no such split, got 'test'"):
        load(write({"a/1.png": grey[0]}), split="test")


def test_colour_stays_colour(write):
    pool = load(write({"1.png": RED}), image_size=None)
    assert values(pool.images[0, :, 2, 1]).tolist() == [200, 10, 30]


@pytest.mark.parametrize("order", [("1.png", "2.png"), ("2.png", "1.png")])
def test_grey_beside_colour_becomes_colour(write, grey, order):
    root = write({order[0]: grey[1], order[1]: RED})
    pool = load(root, image_size=None)
    grey_at, red_at = int(order[0][0]) - 1, int(order[1][0]) - 1
    assert values(pool.images[grey_at, :, 0, 1]).tolist() == [17, 17, 17]
    assert values(pool.images[red_at, :, 0, 1]).tolist() == [200, 10, 30]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM"])
def test_lossless_formats(encode, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    stack = pictures.decode([(0, encode(RED, kind, **options))], 1, str)
    assert np.array_equal(stack[0], RED)


def test_jpeg_is_close(encode):
    stack = pictures.decode([(0, encode(RED, "JPEG", quality=95))], 1, str)
    assert np.abs(stack[0].astype(int) - RED).max() <= 4


def test_black_and_white_is_grey(encode):
    stack = pictures.decode([(0, encode(Image.fromarray(np.eye(4) > 0)))], 1, str)
    assert np.array_equal(stack[0, :, :, 0], np.eye(4, dtype=np.uint8) * 255)


def test_opaque_alpha_is_dropped(encode):
    opaque = np.dstack([RED, np.full((4, 4), 255, np.uint8)])
    assert np.array_equal(pictures.decode([(0, encode(opaque))], 1, str)[0], RED)


def test_progress_ends_at_the_count(encode, grey):
    told = []
    pictures.decode([(i, encode(grey[0])) for i in range(300)], 300, str, lambda *args: told.append(args[1:]))
    assert told == [(256, 300), (300, 300)]


def test_transparency_is_refused(write, grey):
    see_through = np.dstack([RED, np.full((4, 4), 254, np.uint8)])
    with pytest.raises(DataError, match=r"2\.png \(record 1\): the picture is partly transparent"):
        load(write({"1.png": RED, "2.png": see_through}))


def test_sixteen_bits_are_refused(write, grey):
    with pytest.raises(DataError, match=r"2\.png \(record 1\): pictures must have 8 bits"):
        load(write({"1.png": grey[0], "2.png": grey[0].astype(np.uint16) * 200}))


def test_other_size_names_both(write, grey):
    root = write({"1.png": grey[0], "2.png": grey[1], "3.png": grey[2][:3]})
    with pytest.raises(DataError, match=r"3\.png \(record 2\): .* first \(.*1\.png \(record 0\), 4x4\), got 3x4"):
        load(root)


@pytest.mark.parametrize("keep", [0, 4, 40])
def test_truncated_picture(write, encode, grey, keep):
    root = write({"1.png": grey[0], "2.png": encode(grey[1])[:keep]})
    with pytest.raises(DataError, match=r"2\.png \(record 1\): cannot be decoded as a picture"):
        load(root)
    assert len(load(root, image_size=None, limit=1)) == 1  # what is not asked for is not decoded


def test_pictures_beside_class_folders(write, grey):
    with pytest.raises(DataError, match=r"both beside and inside its subfolders, got 1\.png and cat/"):
        load(write({"1.png": grey[0], "cat/1.png": grey[1]}))


def test_empty_class_folder(write, grey):
    with pytest.raises(DataError, match=r"a class folder without pictures, got .*dog"):
        load(write({"cat/1.png": grey[0], "dog/notes.txt": b""}))


def test_folder_without_pictures(write):
    with pytest.raises(DataError, match=r"without a known format of images, got .*Known: IDX files"):
        load(write({"notes.txt": b""}))


def test_one_picture_is_no_data_set(write, grey):
    with pytest.raises(DataError, match=r"one picture is not a data set, got .*1\.png"):
        load(write({"1.png": grey[0]}) / "1.png")
