"""Distances of patches against the oracle's candidates; novelty of images whose patches are known."""

import numpy as np
import pytest
import torch

from patchmosaic.analysis import novelty as module
from patchmosaic.analysis.novelty import FAMILIAR, novelty, patch_distances
from patchmosaic.data import load
from patchmosaic.data.imageset import ImageSet
from patchmosaic.engine import oracle
from patchmosaic.errors import PatchSizeError, ShapeError

MACHINES = {"same border": "boundary_broken", "anywhere": "equivariant_local"}


def uniform(*shape, seed=0):
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1


def pixels_seen(where, row, column, size, shape):
    """Counted one by one."""
    channels, height, width = shape
    radius = size // 2
    if where == "same border":
        rows = [r for r in range(height) if abs(r - row) <= radius]
        columns = [c for c in range(width) if abs(c - column) <= radius]
    else:
        rows = {(row + d) % height for d in range(-radius, radius + 1)}
        columns = {(column + d) % width for d in range(-radius, radius + 1)}
    return channels * len(rows) * len(columns)


@pytest.mark.parametrize("where", ["same border", "anywhere"])
def test_distances_are_those_of_the_likeliest_candidates(where):
    """With alpha = 1 and sigma² = 1/2 the oracle's log-weights are squared distances, negative."""
    pool, images = ImageSet(uniform(4, 2, 6, 5)), uniform(2, 2, 6, 5, seed=1)
    sizes = (1, 3, 5, 13)
    found = patch_distances(images, pool, sizes, where=where)
    for size, distances in zip(sizes, found, strict=True):
        for row, column in [(0, 0), (0, 2), (3, 2), (5, 4)]:
            candidates = oracle.candidates(
                MACHINES[where], images.numpy(), pool.images.numpy(), 1.0, 0.5**0.5, row, column, size
            )
            squares = -candidates.log_weights.max(1) / pixels_seen(where, row, column, size, pool.image_shape)
            np.testing.assert_allclose(distances[:, row, column], np.sqrt(squares), rtol=1e-9, atol=1e-9)


def test_budget_and_batches_do_not_matter():
    pool, images = ImageSet(uniform(6, 1, 6, 6)), uniform(3, 1, 6, 6, seed=1)
    whole = patch_distances(images, pool, (3, 5))
    alone = torch.cat([patch_distances(image[None], pool, (3, 5)) for image in images], 1)
    torch.testing.assert_close(whole, alone, rtol=1e-12, atol=1e-12)
    some = patch_distances(images, pool, (3,), index=torch.tensor([1, 4]))
    torch.testing.assert_close(some, patch_distances(images, pool.subset(torch.tensor([1, 4])), (3,)))


def halves(pool, left, right):
    """The left half of one image beside the right half of another."""
    image = pool.images[left].clone()
    image[:, :, 4:] = pool.images[right][:, :, 4:]
    return image


def test_copies_are_old_and_a_collage_is_a_new_arrangement_of_old_patches():
    pool = ImageSet(uniform(40, 1, 8, 8))
    images = torch.stack([pool.images[3], halves(pool, 3, 20), uniform(1, 8, 8, seed=9)])
    found = novelty(images, pool, (3, 5, 15), held_out=4)
    copy, collage, noise = found.images.distance.T
    assert copy.tolist() == [0.0, 0.0, 0.0]
    assert found.images.arrangement[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert found.images.familiar[:, 0].tolist() == [1.0, 1.0, 1.0]
    # A window of 3 sees the seam from 2 of 8 columns, one of 5 from 4 of 8.
    assert found.images.familiar[:2, 1].tolist() == [6 / 8, 4 / 8]
    assert bool((collage < noise).all())
    assert found.images.arrangement[0, 1] > found.images.arrangement[1, 1] > 0.2
    assert found.images.arrangement[0, 1] > found.images.arrangement[0, 2] + 0.1
    assert bool((found.images.familiar[:, 2] == 0).all())
    np.testing.assert_allclose(found.images.distance[2], found.images.whole, rtol=1e-9)  # a window of 15 is the whole image
    assert float(found.held_out.distance.min()) > FAMILIAR


def test_anywhere_arrangement_lies_in_0_and_1_and_falls_to_0():
    pool = load("digits", None, limit=60)
    images = load("digits", None).images[100:104]
    found = novelty(images, pool, (1, 3, 5, 7, 9), held_out=4, where="anywhere")
    for measured in (found.images, found.held_out):
        assert bool((measured.arrangement >= -1e-12).all() & (measured.arrangement <= 1).all())
        np.testing.assert_allclose(measured.arrangement[-1], 0, atol=1e-9)
        assert bool((measured.distance.diff(dim=0) > -1e-12).all() & (measured.familiar[0] > 0.9).all())


def test_finished_images_are_not_measured_again(tmp_path, monkeypatch):
    pool, images = ImageSet(uniform(10, 1, 6, 6)), uniform(2, 1, 6, 6, seed=1)
    first = novelty(images, pool, (3,), held_out=2, keep=tmp_path)
    next(tmp_path.glob("novelty-*/seed-000001.safetensors")).unlink()
    measured = []
    right = patch_distances

    def counted(images, *arguments, **options):
        measured.append(images)
        return right(images, *arguments, **options)

    monkeypatch.setattr(module, "patch_distances", counted)
    assert novelty(images, pool, (3,), held_out=2, keep=tmp_path).to_json() == first.to_json()
    assert len(measured) == 1
    torch.testing.assert_close(measured[0], images[1:])
    novelty(images.flip(0), pool, (3,), held_out=2, keep=tmp_path)  # other images: only the real ones are known
    assert len(measured) == 3


def test_what_cannot_be_measured_is_refused():
    pool = ImageSet(uniform(10, 1, 6, 6))
    with pytest.raises(PatchSizeError, match="odd"):
        patch_distances(pool.images, pool, (4,))
    with pytest.raises(PatchSizeError, match="must be a patch size"):
        patch_distances(pool.images, pool, ())
    with pytest.raises(ShapeError, match=r"\(1, 6, 6\)"):
        patch_distances(uniform(1, 1, 6, 5), pool, (3,))
