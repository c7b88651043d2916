""".npy files: mapped and not read, with the numbers that the same images have from any other source."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch

from patchmosaic.data import load
from patchmosaic.errors import DataError, LabelError, ShapeError, ValueRangeError

BYTES = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 4), dtype=np.uint8)
LABELS = np.array([3, 1, 1, 0, 3, 1, 0])


@pytest.fixture
def save(tmp_path):
    """np.save into pool.npy, and labels beside it; returns the path of the images."""

    def write(images=BYTES, labels=None):
        np.save(tmp_path / "pool.npy", images)
        if labels is not None:
            np.save(tmp_path / "pool_labels.npy", labels)
        return tmp_path / "pool.npy"

    return write


def overwrite(path, record, value):
    """Change one record of the file behind the back of whoever has mapped it."""
    file = np.lib.format.open_memmap(path, "r+")
    file[record] = value
    file.flush()


@pytest.mark.parametrize("limit", [None, 5])
def test_images_and_labels_are_mapped(save, limit):
    """What is written to the files later is seen: nothing was copied."""
    path = save(labels=LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool = load(path, None, limit=limit)
    assert len(pool) == (limit or 7)
    assert torch.equal(pool.stored, torch.from_numpy(BYTES[:limit]))
    overwrite(path, 4, 17)
    overwrite(path.with_name("pool_labels.npy"), 4, 1000)
    assert pool.stored[4].unique().tolist() == [17]
    assert pool.labels[4] == 1000


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("image_size", [None, 4, 6])
@pytest.mark.parametrize("classes", [None, 1])
def test_the_pool_is_that_of_an_archive(save, tmp_path, dtype, image_size, classes):
    images = BYTES if dtype == np.uint8 else (BYTES / 127.5 - 1).astype(np.float32)
    np.savez(tmp_path / "pool.npz", images=images, labels=LABELS)
    archive = load(tmp_path / "pool.npz", image_size, classes=classes)
    pool = load(save(images, LABELS), image_size, classes=classes)
    assert torch.equal(pool.images, archive.images)
    assert pool.content_hash == archive.content_hash
    assert pool.stored.dtype == (torch.uint8 if dtype == np.uint8 and image_size != 6 else torch.float32)
    assert pool.stored.is_contiguous()


def test_floats_are_mapped_as_they_are(save):
    images = np.linspace(-1, 1, 7 * 16, dtype=np.float32).reshape(7, 1, 4, 4)
    path = save(images)
    pool = load(path, None)
    assert np.array_equal(pool.stored.numpy(), images)
    overwrite(path, 2, 0.25)
    assert pool.images[2].unique().tolist() == [0.25]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, ">i8"])
def test_labels_of_other_types(save, dtype):
    assert load(save(labels=LABELS.astype(dtype)[:, None]), None).labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (BYTES[:, 0], ShapeError, r"must be \(N, C, H, W\), got \(7, 4, 4\)"),
        (BYTES.transpose(0, 2, 3, 1), ShapeError, r"seem to be \(N, H, W, C\), got \(7, 4, 4, 3\)"),
        (np.asfortranarray(BYTES), ShapeError, "must be in C order"),
        (BYTES[:0], DataError, "holds no images|cannot be mapped"),
        (BYTES.astype(np.int64), ValueRangeError, "uint8, or float32.*, got int64"),
        (BYTES / 127.5 - 1, ValueRangeError, "got float64.*astype"),
        ((BYTES / 127.5 - 1).astype(">f4"), ValueRangeError, "got >f4"),
        ((BYTES / 255).astype(np.float32), ValueRangeError, r"no negative value\. For \[0, 1\]: 2 \* images - 1"),
        ((BYTES / 100 - 1).astype(np.float32), ValueRangeError, r"must lie in \[-1, 1\], got \[-1, 1\.5"),
        (np.array([BYTES, None], object), DataError, "cannot be mapped.*pickles"),
    ],
)
def test_what_is_refused(save, images, error, message):
    with pytest.raises(error, match=message):
        load(save(images), None)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_names_the_image(save, bad):
    images = (BYTES / 127.5 - 1).astype(np.float32)
    images[5, 1, 2, 3] = bad
    with pytest.raises(ValueRangeError, match="image 5"):
        load(save(images), None)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:6], r"pool\.npy: labels must be one a image, got \(6,\) for 7"),
        (LABELS - 1, r"pool\.npy, record 3: labels must be whole numbers from 0 up, got -1"),
        (LABELS * 1.0, r"pool_labels\.npy: labels must be whole numbers, got float64"),
    ],
)
def test_wrong_labels(save, labels, message):
    with pytest.raises(LabelError, match=message):
        load(save(labels=labels), None)


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_truncated(save, keep):
    path = save()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"pool\.npy: cannot be mapped"):
        load(path, None)


def test_pickles_stay_closed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise RuntimeError('it was unpickled')",))

    (tmp_path / "pool.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="cannot be mapped"):
        load(tmp_path / "pool.npy", None)
