"""Regions against a flood fill, boundaries against the definition, and the mosaics that theory knows."""

import numpy as np
import pytest
import torch

import patchmosaic as pm
from patchmosaic.errors import PatchMosaicError
from patchmosaic.provenance import trace
from patchmosaic.provenance.mosaic import Mosaic


def random_mosaic(seed, by, shape=(7, 9), images=3):
    """Blocks of few images at few displacements, so that there are regions of all sizes."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2 * images, (shape[0] // 2 + 1, shape[1] // 2 + 1))
    which = np.kron(coarse, np.ones((2, 2), int))[: shape[0], : shape[1]]
    flips = rng.random(shape) < 0.1
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    moved = which % 2 + flips  # two displacements an image, and some pixels off by one
    parts = (which // 2, rows + moved, columns - moved, rng.random(shape))
    return Mosaic(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts), by)


def belongs(mosaic, one, other):
    same = mosaic.image[one] == mosaic.image[other]
    if mosaic.by == "placement":
        for axis, place in enumerate((mosaic.row, mosaic.column)):
            same = same and int(place[one]) - one[axis] == int(place[other]) - other[axis]
    return bool(same)


def flooded(mosaic):
    """The regions, each a set of pixels, by walking from neighbour to neighbour."""
    height, width = mosaic.image.shape
    left = {(row, column) for row in range(height) for column in range(width)}
    regions = []
    while left:
        front = [left.pop()]
        region = set(front)
        while front:
            row, column = front.pop()
            for other in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if other in left and belongs(mosaic, (row, column), other):
                    left.remove(other)
                    region.add(other)
                    front.append(other)
        regions.append(frozenset(region))
    return set(regions)


@pytest.mark.parametrize("by", ["image", "placement"])
@pytest.mark.parametrize("seed", range(6))
def test_regions_are_those_of_a_flood_fill(seed, by):
    mosaic = random_mosaic(seed, by)
    found = {frozenset(map(tuple, (mosaic.region == number).nonzero().tolist())) for number in range(mosaic.count)}
    assert found == flooded(mosaic)
    assert mosaic.count == len(found) > 3
    assert mosaic.sizes.tolist() == sorted((len(region) for region in found), reverse=True)
    firsts = [int((mosaic.region.flatten() == number).nonzero()[0]) for number in range(mosaic.count)]
    for size in set(mosaic.sizes.tolist()):
        alike = [first for first, other in zip(firsts, mosaic.sizes.tolist(), strict=True) if other == size]
        assert alike == sorted(alike)


@pytest.mark.parametrize("by", ["image", "placement"])
def test_the_boundary_is_where_neighbours_belong_to_different_regions(by):
    mosaic = random_mosaic(0, by)
    height, width = mosaic.image.shape
    everywhere, beside_settled = set(), set()
    for row in range(height):
        for column in range(width):
            for other, ends in (
                ((row, column + 1), ((row, column + 1), (row + 1, column + 1))),
                ((row + 1, column), ((row + 1, column), (row + 1, column + 1))),
            ):
                if max(other[0] - height, other[1] - width) < 0 and not belongs(mosaic, (row, column), other):
                    everywhere.add(ends)
                    if max(mosaic.weight[row, column], mosaic.weight[other]) > 0.5:
                        beside_settled.add(ends)
    for edges, expected in ((mosaic.boundary, everywhere), (mosaic.settled_boundary, beside_settled)):
        assert {tuple(map(tuple, edge)) for edge in edges.tolist()} == expected
        assert len(edges) == len(expected)
    assert 0 < len(beside_settled) < len(everywhere)


def test_shares_count_pixels():
    image = torch.tensor([[4, 4, 9], [4, 2, 9]])
    weight = torch.tensor([[0.9, 0.5, 0.6], [0.51, 0.2, 0.1]], dtype=torch.float64)
    mosaic = Mosaic(image, torch.zeros_like(image), torch.zeros_like(image), weight)
    assert mosaic.sources == {4: 3 / 6, 9: 2 / 6, 2: 1 / 6}
    assert list(mosaic.sources) == [4, 9, 2]
    assert mosaic.settled_share == 3 / 6  # exactly one half is not more than half
    assert mosaic.settled_sources == {4: 2 / 6, 9: 1 / 6}
    assert mosaic.pieces == 2
    assert mosaic.summary()["regions"] == 3
    assert str(mosaic) == "2 pieces of 2 training images make 50% of the pixels"


@pytest.mark.parametrize("by", ["image", "placement"])
def test_the_ideal_machine_draws_one_piece(by):
    """At low noise IS is sure of one training image, and all of the picture is that image where it is."""
    pool = pm.data.load("digits", image_size=None, limit=50)
    machine = pm.IdealDenoiser(pool)
    provenance = trace(machine, 0.99 * pool.images[[7, 31]] + 0.01, 0.05)
    for sample, source in enumerate((7, 31)):
        mosaic = Mosaic.from_provenance(provenance, sample, by)
        assert mosaic.sources == {source: 1.0}
        assert mosaic.count == 1
        assert mosaic.settled_share == 1
        assert len(mosaic.boundary) == 0


def test_two_pasted_halves_are_two_pieces():
    """A picture whose left half is of one image, and whose right half of another, moved by two rows."""
    images = 2 * torch.rand((4, 1, 10, 12), generator=torch.Generator().manual_seed(0)) - 1
    pasted = torch.cat([images[1, :, :, :6], images[2].roll(2, 1)[:, :, 6:]], 2)
    machine = pm.EquivariantLocalDenoiser(pm.ImageSet(images), 3)
    t = float(machine.schedule.time_of_snr(1e6))
    mosaic = Mosaic.from_provenance(trace(machine, pasted[None], t), by="placement")
    inside = mosaic.region[3:9, 1:5], mosaic.region[3:9, 7:11]
    assert all(len(part.unique()) == 1 for part in inside)
    assert int(inside[0][0, 0]) != int(inside[1][0, 0])
    assert mosaic.image[5, 2] == 1
    assert (mosaic.image[5, 9], mosaic.row[5, 9], mosaic.column[5, 9]) == (2, 3, 9)


def test_a_piece_ends_where_its_source_does():
    """An image that is rolled on a torus is two pieces by placement, of one image."""
    images = 2 * torch.rand((2, 1, 8, 8), generator=torch.Generator().manual_seed(0)) - 1
    machine = pm.EquivariantLocalDenoiser(pm.ImageSet(images), 3)
    provenance = trace(machine, images[:1].roll(3, 2), float(machine.schedule.time_of_snr(1e6)))
    assert Mosaic.from_provenance(provenance).count == 1
    assert Mosaic.from_provenance(provenance, by="placement").sizes.tolist() == [40, 24]


def test_a_sample_that_is_not_there_is_refused():
    pool = pm.data.load("digits", image_size=None, limit=5)
    provenance = trace(pm.IdealDenoiser(pool), pool.images[:2], 0.3)
    with pytest.raises(PatchMosaicError, match="numbered 0 to 1, got 2"):
        Mosaic.from_provenance(provenance, 2)
