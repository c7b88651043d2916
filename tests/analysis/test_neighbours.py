"""The nearest training images against all distances, one after another, in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmosaic.analysis.neighbours import nearest, set_aside
from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import DataError, ShapeError


def uniform(*shape, seed=0):
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1


def by_brute_force(images, pool, reach):
    """(S, N) least root mean square difference, every translation tried by numpy.roll."""
    images, pool = images.double().numpy(), pool.double().numpy()
    height, width = images.shape[2:]
    downs, rights = ({d % side for d in range(-reach, reach + 1)} for side in (height, width))
    distances = np.full((len(images), len(pool)), np.inf)
    for down in downs:
        for right in rights:
            moved = np.roll(pool, (down, right), axis=(2, 3))
            distances = np.minimum(distances, np.sqrt(((images[:, None] - moved) ** 2).mean((2, 3, 4))))
    return distances


@pytest.mark.parametrize("stored", ["float32", "uint8"])
@pytest.mark.parametrize("reach", [0, 1, 2, 9])
def test_the_two_nearest_are_those_of_all_distances(monkeypatch, stored, reach):
    monkeypatch.setattr("patchmosaic.engine.memory.SCAN_BYTES", 700)  # blocks of about two images
    monkeypatch.setattr("patchmosaic.analysis.neighbours.AT_ONCE", 4)
    images, samples = uniform(13, 2, 4, 5), uniform(6, 2, 4, 5, seed=1)
    if stored == "uint8":
        images = ((images + 1) * 127.5).to(torch.uint8)
    pool = ImageSet(images)
    found, distances = nearest(samples, pool, reach=reach), by_brute_force(samples, pool.images, reach)
    order = distances.argsort(1)[:, :2]
    np.testing.assert_array_equal(found.index, order)
    np.testing.assert_allclose(found.distance, np.take_along_axis(distances, order, 1), rtol=1e-12)
    for i in range(6):
        for j in range(2):
            moved = pool.images[found.index[i, j]].double().roll(tuple(found.shift[i, j].tolist()), (1, 2))
            assert float((moved - samples[i]).square().mean().sqrt()) == pytest.approx(float(found.distance[i, j]), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(-3, 3), st.integers(-2, 2), st.integers(0, 8))
def test_a_moved_copy_is_found_where_it_was_moved_to(down, right, which):
    pool = ImageSet(uniform(9, 1, 7, 5))
    copy = pool.images[which].roll((down, right), (1, 2))[None]
    found = nearest(copy, pool, reach=3)
    assert (found.index[0, 0].item(), found.distance[0, 0].item(), found.ratio.item()) == (which, 0.0, 0.0)
    assert found.shift[0, 0].tolist() == [down, right]
    assert found.index[0, 1] != which  # the second is another image
    assert (nearest(copy, pool).distance[0, 0] > 0.1) == ((down, right) != (0, 0))


def test_images_that_do_not_count_are_not_found():
    pool = ImageSet(uniform(20, 1, 4, 4))
    aside, rest = set_aside(pool, 3, seed=5)
    assert sorted([*aside.tolist(), *rest.tolist()]) == list(range(20))
    assert len(aside) == 3
    found = nearest(pool.at(aside), pool, index=rest)
    assert not set(found.index.flatten().tolist()) & set(aside.tolist())
    assert nearest(pool.at(aside), pool).distance[:, 0].tolist() == [0.0] * 3
    expected = nearest(pool.at(aside), pool.subset(rest))
    np.testing.assert_array_equal(found.index, rest[expected.index])
    np.testing.assert_array_equal(found.distance, expected.distance)


def test_a_small_difference_survives():
    """Squares expanded in float64 would leave about 1e-8 of a difference of 1e-9."""
    pool = ImageSet(uniform(5, 1, 4, 4))
    near = pool.images[:1].double() + 1e-9
    assert nearest(near, pool).distance[0, 0].item() == pytest.approx(1e-9, rel=1e-6)


def test_what_cannot_be_compared_is_refused():
    pool = ImageSet(uniform(4, 1, 4, 4))
    with pytest.raises(ShapeError, match=r"\(1, 4, 4\)"):
        nearest(uniform(2, 1, 4, 5), pool)
    with pytest.raises(DataError, match="pool of two"):
        nearest(uniform(2, 1, 4, 4), pool, index=torch.tensor([1]))
    with pytest.raises(DataError, match="set aside"):
        set_aside(pool, 1)
    with pytest.raises(DataError, match="set aside"):
        set_aside(ImageSet(uniform(9, 1, 2, 2)), 0)
