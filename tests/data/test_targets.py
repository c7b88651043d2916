"""Small targets: densities against quadrature, points against known moments, pools against what they are drawn from."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from patchmosaic.data.targets import RADIUS, TARGETS, Mixture, bimodal, eight, moons, polygon, pool_of, ring
from patchmosaic.errors import PatchMosaicError, ValueRangeError


def normal_moment(mean, std, power):
    return stats.norm(mean, std).moment(power) if power else 1.0


@pytest.mark.parametrize("order", [0, 1, 4, 9])
def test_the_points_of_a_mixture_have_its_moments(order):
    points, weights = bimodal(0.2, 0.3).points(order)
    for power in range(order + 1):
        exact = 0.7 * normal_moment(-0.5, 0.2, power) + 0.3 * normal_moment(0.5, 0.2, power)
        assert float(weights @ points[:, 0] ** power) == pytest.approx(exact, rel=1e-10, abs=1e-14)


def test_also_in_the_plane():
    points, weights = eight(0.1).points(4)
    for i, j in [(2, 0), (2, 2), (1, 3), (0, 4)]:
        exact = np.mean([normal_moment(float(x), 0.1, i) * normal_moment(float(y), 0.1, j) for x, y in polygon(8)])
        assert float(weights @ (points[:, 0] ** i * points[:, 1] ** j)) == pytest.approx(exact, rel=1e-10, abs=1e-14)


def test_a_density_has_mass_1_and_the_mean_of_its_points():
    target = bimodal(0.15, 0.3)
    density = lambda x: float(target.density(torch.tensor([[x]], dtype=torch.float64)))  # noqa: E731
    assert integrate.quad(density, -3, 3, points=[-0.5, 0.5])[0] == pytest.approx(1, abs=1e-9)
    assert integrate.quad(lambda x: x * density(x), -3, 3, points=[-0.5, 0.5])[0] == pytest.approx(-0.2, abs=1e-9)
    centre = eight(0.1).density(torch.tensor([[0.8, 0.0]], dtype=torch.float64))
    assert float(centre) == pytest.approx(1 / 8 / (2 * math.pi * 0.01), rel=1e-6)


@pytest.mark.parametrize("corners", [3, 5, 8])
def test_a_polygon_has_the_moments_of_the_circle_up_to_its_corners(corners):
    """E (x + iy)^a (x - iy)^b is R^(a+b) for a = b, and 0 otherwise unless a - b is a multiple of the corners."""
    x, y = polygon(corners).T
    z = torch.complex(x, y)
    for a in range(corners):
        for b in range(corners - a):
            moment = complex((z**a * z.conj() ** b).mean())
            assert moment == pytest.approx(RADIUS ** (a + b) if a == b else 0, abs=1e-14)
    assert abs(complex((z**corners).mean())) == pytest.approx(RADIUS**corners)


@pytest.mark.parametrize("name", TARGETS)
def test_pools_are_points_in_the_square_that_a_seed_draws(name):
    pool = TARGETS[name](200, 3)
    assert len(pool) == 200
    assert pool.image_shape == ((1 if name == "bimodal" else 2), 1, 1)
    assert pool.name == name
    assert pool.content_hash == TARGETS[name](200, 3).content_hash
    assert pool.content_hash != TARGETS[name](200, 4).content_hash


def test_a_pool_follows_its_mixture():
    pool = bimodal(0.1, 0.3).pool(4000, seed=1)
    cdf = lambda x: 0.7 * stats.norm.cdf(x, -0.5, 0.1) + 0.3 * stats.norm.cdf(x, 0.5, 0.1)  # noqa: E731
    assert stats.kstest(pool.images.flatten().numpy(), cdf).pvalue > 0.01
    assert pool.classes == (0, 1)
    assert bool((pool.images.flatten()[pool.labels == 1] > 0).all())


def test_curves_are_where_they_should_be():
    circle = ring(500).images.flatten(1).double()
    np.testing.assert_allclose(circle.norm(dim=1), RADIUS, rtol=1e-6)
    angles = (torch.atan2(circle[:, 1], circle[:, 0]) / (2 * math.pi)).numpy() % 1
    assert stats.kstest(angles, "uniform").pvalue > 0.01
    pair = moons(400, noise=0.0)
    for label, sign in ((0, 1), (1, -1)):
        x, y = pair.images[pair.labels == label].flatten(1).double().T * sign * 1.5 / RADIUS + torch.tensor([[0.5], [0.25]])
        np.testing.assert_allclose(torch.hypot(x, y), 1, rtol=1e-5)
        assert float(y.min()) > -1e-6
    column, row = ((TARGETS["checkerboard"](500, 0).images.flatten(1) / RADIUS + 1) * 2).floor().T
    assert bool(((column - row) % 2 == 0).all())
    x, y = TARGETS["spiral"](500, 0).images.flatten(1).double().T
    turns = torch.hypot(x, y) / RADIUS * 2 - torch.atan2(y, x) / (2 * math.pi)
    assert float((turns - turns.round()).abs().max()) < 0.5  # the arms are half a turn apart from what lies between them
    assert float((turns - turns.round()).abs().mean()) < 0.06


def test_what_they_refuse():
    weights = torch.full((2,), 0.5, dtype=torch.float64)
    with pytest.raises(ValueRangeError, match="centres"):
        Mixture(torch.tensor([[0.0], [1.5]], dtype=torch.float64), 0.1, weights)
    with pytest.raises(ValueRangeError, match="std"):
        Mixture(torch.zeros(2, 1, dtype=torch.float64), 0.0, weights)
    with pytest.raises(ValueRangeError, match="weights"):
        Mixture(torch.zeros(2, 1, dtype=torch.float64), 0.1, 2 * weights)
    with pytest.raises(ValueRangeError, match="lie in"):
        pool_of(torch.tensor([[2.0]], dtype=torch.float64))
    with pytest.raises(PatchMosaicError, match="corner"):
        polygon(0)
    with pytest.raises(PatchMosaicError, match="order"):
        bimodal().points(-1)
