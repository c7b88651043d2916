"""Copies made on purpose are found, named and counted; what is new is not."""

import numpy as np
import pytest
import torch

from patchmosaic.analysis.memorisation import memorisation, nearest_ratios
from patchmosaic.data import load
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, WienerDenoiser
from patchmosaic.generation import generate


@pytest.fixture(scope="module")
def pool():
    return load("digits", None, limit=200)


def test_copies_are_found_named_and_counted(pool):
    fresh = load("digits", None).images[1700:1706]
    noise = 0.02 * torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    copies = (pool.images[[40, 7, 40]] + noise).clamp(-1, 1)
    found = memorisation(torch.cat([fresh, copies]), pool)
    assert found.copies.tolist() == [False] * 6 + [True] * 3
    assert found.copy_rate == pytest.approx(3 / 9)
    assert found.sources == {40: 2, 7: 1}
    assert list(found.sources) == [40, 7]
    assert found.rank[-3:].max() == 0
    assert "3 of 9 images are copies, of training images 40 (2 times), 7." in str(found)
    table = found.table()
    assert table["nearest"][-3:] == [40, 7, 40]
    assert table["nearest_label"][-3:] == pool.labels[[40, 7, 40]].tolist()
    assert table["ratio"][0] == pytest.approx(table["distance"][0] / table["second_distance"][0])
    assert {len(column) for column in table.values()} == {9}
    record = found.to_json()
    assert record["copies"] == 3
    assert record["sources"] == [{"training_image": 40, "copies": 2}, {"training_image": 7, "copies": 1}]


def test_real_images_that_are_held_out_are_compared_with_the_rest(pool):
    found = memorisation(pool.images[:2], pool, held_out=30, seed=3)
    assert len(found.held_out) == 30
    order = torch.randperm(200, generator=torch.Generator().manual_seed(3))
    aside, rest = order[:30].sort().values, pool.subset(order[30:])
    np.testing.assert_allclose(found.held_out.ratio, nearest_ratios(pool.images[aside], rest), rtol=1e-12)
    assert len(memorisation(pool.images[:2], pool).held_out) == 40  # at most a fifth


def test_the_ideal_machine_copies_and_the_gaussian_does_not(pool):
    drawn = {
        kind: generate(kind(pool), range(8), steps=40, batch_size=8).clamp(-1, 1) for kind in (IdealDenoiser, WienerDenoiser)
    }
    assert memorisation(drawn[IdealDenoiser], pool).copy_rate == 1.0
    assert memorisation(drawn[WienerDenoiser], pool).copy_rate == 0.0


def test_a_copy_that_was_moved_needs_reach(pool):
    moved = pool.images[[5, 9]].roll((1, -2), (2, 3))
    assert memorisation(moved, pool).copy_rate == 0.0
    found = memorisation(moved, pool, reach=2)
    assert found.sources == {5: 1, 9: 1}
    assert (found.table()["shift_down"], found.table()["shift_right"]) == ([1, 1], [-2, -2])


def test_a_pool_without_labels_has_none_in_the_table(pool):
    assert "nearest_label" not in memorisation(pool.images[:1], ImageSet(pool.images)).table()
