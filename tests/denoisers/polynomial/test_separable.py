"""The separable polynomial: independent coefficients, each as the exact polynomial in one dimension."""

import numpy as np
import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.polynomial import ExactPolynomialDenoiser, SeparablePolynomialDenoiser
from patchmosaic.engine.moments import fit_gaussian
from patchmosaic.noise import EDMSchedule
from patchmosaic.sampling import log_uniform_times, sample, seeds

SCHEDULE = EDMSchedule()
TIMES = log_uniform_times(SCHEDULE, 100, 0.0021)


def cross():
    """40 points whose squared coordinates have correlation -.60: mostly one of them is 0 and the other is not."""
    a, b = 0.8, 0.5
    points = [(s * a, 0) for s in (1, -1)] * 8 + [(0, s * b) for s in (1, -1)] * 8
    points += [(s * a, r * b) for s in (1, -1) for r in (1, -1)] + [(0, 0)] * 4
    return torch.tensor(points, dtype=torch.float64)


def pool_of(points):
    return ImageSet(points[:, :, None, None])


def test_squared_coefficients_lose_their_dependence():
    """Acceptance 15: correlation -.60 in the target, 0 in what is generated; the exact polynomial keeps some of it."""
    target = cross()
    assert np.corrcoef(target.square().T)[0, 1] == pytest.approx(-0.6, abs=1e-12)
    x_T = SCHEDULE.prior_std() * seeds(4000, (2, 1, 1), seed=2).double()
    correlations = []
    for denoiser in (SeparablePolynomialDenoiser, ExactPolynomialDenoiser):
        x0 = sample(denoiser(pool_of(target), 5, schedule=SCHEDULE), x_T, times=TIMES).x0.flatten(1)
        correlations.append(np.corrcoef(x0.square().T)[0, 1])
    assert abs(correlations[0]) < 0.05
    assert correlations[1] < -0.3


@pytest.mark.parametrize("degree", [1, 3, 6])
def test_each_coefficient_is_that_of_an_exact_polynomial_in_one_dimension(degree):
    """With the pool's axes turned, so that coefficients are not coordinates."""
    turn = torch.linalg.qr(torch.from_numpy(np.random.default_rng(0).standard_normal((4, 4)))).Q
    uneven = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (50, 4)) ** 3) * torch.tensor([0.9, 0.6, 0.4, 0.2])
    pool = ImageSet((uneven @ turn.T)[:, None, None, :])
    mean, axes, _ = fit_gaussian(pool.stored.flatten(1))
    z = torch.from_numpy(np.random.default_rng(2).standard_normal((7, 4)))
    x_T = mean + 80 * z @ axes.T
    denoiser = SeparablePolynomialDenoiser(pool, degree, schedule=SCHEDULE)
    found = (sample(denoiser, x_T[:, None, None], times=TIMES[::5]).x0[:, 0, 0] - mean) @ axes
    for k in range(4):
        line = ((pool.stored.flatten(1).double() - mean) @ axes)[:, k : k + 1]
        exact = ExactPolynomialDenoiser.from_points(line, degree=degree, schedule=SCHEDULE, limit=1e3)
        expected = sample(exact, 80 * z[:, k, None, None, None], times=TIMES[::5]).x0.flatten()
        torch.testing.assert_close(found[:, k], expected, rtol=1e-8, atol=1e-9)


def test_a_pool_of_many_blocks_has_the_rules_of_all_of_it(monkeypatch):
    rng = np.random.default_rng(3)
    pool = ImageSet(torch.from_numpy(rng.uniform(-1, 1, (300, 1, 2, 3)) ** 3))
    x_t = torch.from_numpy(rng.standard_normal((5, 1, 2, 3)))
    whole = SeparablePolynomialDenoiser(pool, 4)(x_t, 0.3)
    monkeypatch.setattr("patchmosaic.engine.memory.SCAN_BYTES", 6 * 8 * 7)  # seven images a block
    torch.testing.assert_close(SeparablePolynomialDenoiser(pool, 4)(x_t, 0.3), whole, rtol=1e-10, atol=1e-11)


def test_fewer_images_than_pixels_leave_the_rest_at_the_mean():
    pool = ImageSet(torch.from_numpy(np.random.default_rng(4).uniform(-1, 1, (3, 1, 3, 3))))
    vectors = pool.stored.flatten(1).double()
    x0_hat = SeparablePolynomialDenoiser(pool, 3)(torch.randn(6, 1, 3, 3, dtype=torch.float64), 0.5).flatten(1)
    spanned = torch.linalg.svd(vectors - vectors.mean(0), full_matrices=False).Vh[:2]
    outside = (x0_hat - vectors.mean(0)) @ (torch.eye(9, dtype=torch.float64) - spanned.T @ spanned)
    assert float(outside.abs().max()) < 1e-10
