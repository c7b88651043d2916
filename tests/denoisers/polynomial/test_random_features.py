"""Random powers against Gauss-Hermite sums, the exact polynomial, and least squares."""

import numpy as np
import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.polynomial import ExactPolynomialDenoiser, RandomFeatureDenoiser
from patchmosaic.denoisers.polynomial.power_features import PowerMoments
from patchmosaic.errors import MemoryBudgetError, PatchMosaicError
from patchmosaic.noise import EDMSchedule

SCHEDULE = EDMSchedule()


def planar(n=200):
    return ImageSet(torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (n, 2, 1, 1)) ** 3))


@pytest.mark.parametrize("sigma", [0.05, 0.6, 5.0])
@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_the_moments_of_the_features_are_those_that_gauss_hermite_sums(degree, sigma):
    """Acceptance 10: Gram matrix and covariance with y, of two targets at once, to 1e-10."""
    rng = np.random.default_rng(degree)
    points = torch.from_numpy(rng.uniform(-1, 1, (2, 9, 2)))
    points = points - points.mean(1, keepdim=True)
    directions, offsets = torch.from_numpy(rng.standard_normal((4, 2))), torch.from_numpy(rng.standard_normal(4))
    variance = points.square().sum(2).mean(1)
    moments = PowerMoments.fit(points.split(4, 1), variance, degree, directions, offsets)
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(degree + 1))
    noise, weights = torch.cartesian_prod(nodes, nodes), torch.cartesian_prod(weights, weights).prod(1)
    y = (points[:, :, None] + sigma * noise).flatten(1, 2)
    weights = (weights / weights.sum() / 9).repeat(9)
    for s in range(2):
        u = y[s] @ directions.T / variance[s].sqrt() + offsets
        tau = sigma * directions.norm(dim=1) / variance[s].sqrt()
        hermite = np.polynomial.hermite_e.hermeval((u / tau).numpy(), [0] * degree + [1]) * (tau**degree).numpy()
        w, centred = weights.numpy(), hermite - weights.numpy() @ hermite
        np.testing.assert_allclose(moments.hermite(y, sigma)[s], centred, rtol=1e-10, atol=1e-10 * np.abs(centred).max())
        gram, shared = centred.T @ (w[:, None] * centred), centred.T @ (w[:, None] * y[s].numpy())
        np.testing.assert_allclose(moments.gram(sigma)[s], gram, rtol=1e-10, atol=1e-10 * np.abs(gram).max())
        np.testing.assert_allclose(moments.with_y(sigma)[s], shared, rtol=1e-10, atol=1e-10 * np.abs(shared).max())


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize("sigma", [0.02, 0.5, 20.0])
def test_enough_powers_are_all_polynomials(degree, sigma):
    pool, t = planar(), float(SCHEDULE.time_of_snr(sigma**-2))
    y = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (9, 2, 1, 1))) * (1 + sigma)
    exact = ExactPolynomialDenoiser(pool, degree, schedule=SCHEDULE)(y, t)
    random = RandomFeatureDenoiser(pool, degree, 40, schedule=SCHEDULE)(y, t)
    torch.testing.assert_close(random, exact, rtol=0, atol=1e-7)


def test_few_powers_are_the_best_combination_of_them():
    """Least squares on many noisy copies, in the same features, finds the same denoiser."""
    pool = ImageSet(torch.from_numpy(np.random.default_rng(2).uniform(-1, 1, (12, 1, 2, 3))))
    denoiser = RandomFeatureDenoiser(pool, 3, 5, schedule=SCHEDULE)
    x0 = pool.stored.double().flatten(1).repeat(20_000, 1)
    y = x0 + 0.5 * torch.from_numpy(np.random.default_rng(3).standard_normal(x0.shape))
    t = float(SCHEDULE.time_of_snr(4.0))
    ours = denoiser(y.view(-1, 1, 2, 3), t).flatten(1)
    moments = denoiser.fitted().window(0.5).moments
    powers = ((y - x0.mean(0)) @ moments.directions.T / moments.scale + moments.offsets) ** 3
    lower = (y - x0.mean(0)) @ moments.directions.T / moments.scale + moments.offsets
    tau = 0.5 * moments.directions.norm(dim=1) / moments.scale
    features = torch.cat([torch.ones(len(y), 1), y, powers - 3 * tau**2 * lower], 1).numpy()
    fitted, *_ = np.linalg.lstsq(features, x0.numpy(), rcond=None)
    best, mine = ((features @ fitted - x0.numpy()) ** 2).mean(), float((ours - x0).square().mean())
    assert best <= mine <= best * 1.001
    linear = float((RandomFeatureDenoiser(pool, 1, schedule=SCHEDULE)(y.view(-1, 1, 2, 3), t).flatten(1) - x0).square().mean())
    assert mine < linear * 0.99


def test_more_powers_fit_better_and_a_seed_draws_them():
    pool = ImageSet(torch.from_numpy(np.random.default_rng(5).uniform(-1, 1, (30, 1, 3, 3))))
    noisy = pool.images.double() + 0.3 * torch.from_numpy(np.random.default_rng(6).standard_normal((30, 1, 3, 3)))
    t = float(SCHEDULE.time_of_snr(0.3**-2))
    x0_hats = [RandomFeatureDenoiser(pool, 3, features, schedule=SCHEDULE)(noisy, t) for features in (0, 10, 60, 200)]
    errors = [float((x0_hat - pool.images).square().mean()) for x0_hat in x0_hats]
    assert errors == sorted(errors, reverse=True)
    again, other = (RandomFeatureDenoiser(pool, 3, 60, schedule=SCHEDULE, seed=seed)(noisy, t) for seed in (0, 1))
    assert torch.equal(again, x0_hats[2])
    assert not torch.allclose(other, again)


def test_blocks_do_not_matter(monkeypatch):
    pool = planar(50)
    y = torch.from_numpy(np.random.default_rng(7).standard_normal((4, 2, 1, 1)))
    whole = RandomFeatureDenoiser(pool, 3, 10)(y, 0.4)
    monkeypatch.setattr("patchmosaic.denoisers.polynomial.random_features.VECTORS_AT_ONCE", 1000)
    torch.testing.assert_close(RandomFeatureDenoiser(pool, 3, 10)(y, 0.4), whole, rtol=1e-9, atol=1e-10)


def test_what_it_refuses():
    with pytest.raises(MemoryBudgetError, match="fewer features"):
        RandomFeatureDenoiser(planar(), 3, 500, memory_budget=10_000)(torch.zeros(1, 2, 1, 1), 0.5)
    with pytest.raises(PatchMosaicError, match="ridge"):
        RandomFeatureDenoiser(planar(), 3, ridge=0.0)
    with pytest.raises(PatchMosaicError, match="features"):
        RandomFeatureDenoiser(planar(), 3, -1)
