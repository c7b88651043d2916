"""ImageSet: what it checks, and that equal pools have equal hashes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchmosaic.data import ImageSet, imageset
from patchmosaic.errors import DataError, LabelError, PatchMosaicError, ShapeError, ValueRangeError


def pool(count=6, **changes):
    images = torch.linspace(-1, 1, count * 16).reshape(count, 1, 4, 4)
    return ImageSet(**{"images": images, "labels": [i % 3 for i in range(count)], **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": torch.zeros(2, 4, 4)}, ShapeError, r"\(N, C, H, W\), got \(2, 4, 4\)"),
        ({"images": torch.zeros(0, 1, 4, 4)}, DataError, "no images"),
        ({"images": torch.zeros(6, 1, 4, 4, dtype=torch.int64)}, ValueRangeError, r"or uint8, got torch\.int64.*torch\.uint8"),
        ({"images": torch.full((6, 1, 4, 4), 1.1)}, ValueRangeError, r"\[-1, 1\], got \[1\.1, 1\.1\]"),
        ({"images": torch.zeros(6, 1, 4, 4).index_fill(0, torch.tensor(4), np.nan)}, ValueRangeError, "image 4"),
        ({"labels": [0, 1]}, ShapeError, r"\(2,\) for 6 images"),
        ({"labels": [0, 1, 2, 0, 1, -1]}, LabelError, "smallest -1"),
        ({"labels": torch.zeros(6)}, LabelError, "float"),
    ],
)
def test_what_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        pool(**changes)


def test_equal_content_equal_hash():
    assert pool().content_hash == pool(name="another").content_hash
    assert pool().content_hash != pool(labels=[0] * 6).content_hash
    assert pool().content_hash != pool(images=torch.linspace(-1, 1, 96).reshape(6, 1, 2, 8)).content_hash
    assert pool().content_hash != pool(images=-pool().images).content_hash


LEVELS = torch.arange(256, dtype=torch.uint8).reshape(16, 1, 4, 4)


def test_bytes_are_levels_from_minus_one_to_one():
    """In float32 arithmetic, NumPy's here; and in float64 the same float32 numbers."""
    expected = np.arange(256, dtype=np.float32).reshape(16, 1, 4, 4) / np.float32(127.5) - np.float32(1)
    pool = ImageSet(LEVELS)
    assert pool.stored.dtype == torch.uint8
    assert np.array_equal(pool.images.numpy(), expected)
    assert np.array_equal(pool.at(torch.tensor([3, 0])).numpy(), expected[[3, 0]])
    assert np.array_equal(pool.at(slice(2, 5), torch.float64).numpy(), expected[2:5].astype(np.float64))


def test_the_hash_does_not_see_how_images_are_stored():
    labels = list(range(16))
    assert ImageSet(LEVELS, labels).content_hash == ImageSet(ImageSet(LEVELS).images, labels).content_hash
    # Of shape, float32 pixels and int64 labels: what runs on disk were made with.
    digest = hashlib.sha256(b"(16, 1, 4, 4)" + (LEVELS.float() / 127.5 - 1).numpy().tobytes() + np.arange(16).tobytes())
    assert ImageSet(LEVELS, labels).content_hash == digest.hexdigest()[:16]


@pytest.mark.parametrize("images", [LEVELS, LEVELS.float() / 127.5 - 1])
def test_what_can_be_kept_is_not_copied(images):
    assert ImageSet(images).stored.data_ptr() == images.data_ptr()
    assert ImageSet(images.transpose(2, 3)).stored.is_contiguous()


def test_positions_of_a_class(monkeypatch):
    monkeypatch.setattr(imageset, "LABELS_AT_ONCE", 4)  # blocks end within the set and at its end
    labels = [5, 0, 5, 2, 2, 5, 0, 0, 5, 5, 5, 5, 0, 9, 0, 5]
    some = ImageSet(LEVELS, labels)
    assert some.classes == (0, 2, 5, 9)
    for label in (0, 2, 5, 9, 1):
        assert some.of_class(label).tolist() == [i for i, one in enumerate(labels) if one == label]
    assert ImageSet(LEVELS).classes == ()
    assert ImageSet(LEVELS).of_class(0).tolist() == []


@pytest.mark.parametrize("index", [torch.tensor([4, 0]), torch.arange(16) % 3 == 0])
def test_a_subset_of_bytes_is_bytes(index):
    some = ImageSet(LEVELS).subset(index)
    assert torch.equal(some.stored, LEVELS[index])


def test_subset_keeps_order_and_labels():
    some = pool(class_names=["a", "b", "c"]).subset(torch.tensor([4, 0]))
    assert some.labels.tolist() == [1, 0]
    assert torch.equal(some.images, pool().images[[4, 0]])
    assert some.class_names == ("a", "b", "c")


@given(count=st.integers(2, 20), data=st.data(), seed=st.integers(0, 2**31))
def test_split_parts_the_set(count, data, seed):
    whole, held_out = pool(count), data.draw(st.integers(1, count - 1))
    training, held = whole.split(held_out, seed)
    assert (len(training), len(held)) == (count - held_out, held_out)
    together = torch.cat([training.images, held.images]).flatten(1)[:, 0]
    assert torch.equal(together.sort().values, whole.images.flatten(1)[:, 0])
    assert torch.equal(held.images, whole.split(held_out, seed)[1].images)


@pytest.mark.parametrize("held_out", [0, 6, 7])
def test_split_needs_both_sides(held_out):
    with pytest.raises(PatchMosaicError, match="images on both sides"):
        pool().split(held_out)
