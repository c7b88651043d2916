"""ImageSet: what it checks, and that equal pools have equal hashes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchmosaic.data import ImageSet
from patchmosaic.errors import DataError, LabelError, PatchMosaicError, ShapeError, ValueRangeError


def pool(count=6, **changes):
    images = torch.linspace(-1, 1, count * 16).reshape(count, 1, 4, 4)
    return ImageSet(**{"images": images, "labels": [i % 3 for i in range(count)], **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": torch.zeros(2, 4, 4)}, ShapeError, r"\(N, C, H, W\), got \(2, 4, 4\)"),
        ({"images": torch.zeros(0, 1, 4, 4)}, DataError, "no images"),
        ({"images": torch.zeros(6, 1, 4, 4, dtype=torch.uint8)}, ValueRangeError, r"uint8.*127\.5"),
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
