"""Smoothing: the fixed points of two points, the perturbations, and that it can smooth anything."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, WienerDenoiser
from patchmosaic.denoisers.relatives import SmoothedDenoiser
from patchmosaic.errors import ValueRangeError
from patchmosaic.noise import CosineSchedule, EDMSchedule
from patchmosaic.sampling import log_uniform_times, sample

TWO = ImageSet(torch.tensor([-1.0, 1.0])[:, None, None, None])


def column(numbers):
    return torch.as_tensor(numbers, dtype=torch.float64)[:, None, None, None]


@pytest.mark.parametrize("width", [0.3, 0.5, 0.6])
def test_two_points_attract_to_the_fixed_points(width):
    """Acceptance 20: x = 2 Phi(x / s) - 1, for s = .5 .9399, on a log-uniform grid down to noise 1e-8."""
    expected = brentq(lambda x: x - 2 * norm.cdf(x / width) + 1, 0.05, 1)
    schedule = EDMSchedule(sigma_min=1e-9, sigma_max=10.0)
    denoiser = SmoothedDenoiser(IdealDenoiser(TWO, schedule=schedule), width, 4096)
    x0 = sample(denoiser, column([-3.0, 3.0, 20.0]), times=log_uniform_times(schedule, 300, 1e-8)).x0.flatten()
    np.testing.assert_allclose(x0, [-expected, expected, expected], atol=1e-3)


@pytest.mark.parametrize("t", [0.05, 0.3, 0.8])
def test_the_mean_over_perturbations_is_the_integral(t):
    """In one dimension the points are stratified: the error falls like 1/M, here against adaptive quadrature."""
    schedule = CosineSchedule()
    alpha, sigma = (float(scale) for scale in schedule(t))
    x_t = column([-0.7, 0.1, 0.5])
    result = SmoothedDenoiser(IdealDenoiser(TWO, schedule=schedule), 0.4, 4096)(x_t, t).flatten()
    for x, found in zip(x_t.flatten().tolist(), result.tolist(), strict=True):
        integrand = lambda z, x=x: norm.pdf(z) * np.tanh((x + alpha * 0.4 * z) * alpha / sigma**2)  # noqa: E731
        expected = quad(integrand, -8, 8, points=[-x / (0.4 * alpha)], limit=400)[0]
        assert found == pytest.approx(expected, abs=1e-3)


def test_perturbations_come_in_pairs_and_depend_on_their_seed_only():
    pool = ImageSet(torch.linspace(-1, 1, 24).view(2, 3, 2, 2))
    first, again, other = (SmoothedDenoiser(IdealDenoiser(pool), 0.2, 32, seed=seed).noise for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.sum(0).abs().max() < 1e-12
    many = SmoothedDenoiser(IdealDenoiser(pool), 0.2, 4096).noise.flatten(1)
    torch.testing.assert_close(many.T @ many / 4096, torch.eye(12, dtype=torch.float64), atol=0.05, rtol=0)


def test_a_linear_denoiser_is_not_changed_by_smoothing():
    """E z = 0, exactly in pairs: whatever is linear stays. Also with labels, times and batches of its own."""
    pool = ImageSet(torch.rand(9, 2, 3, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1] * 3))
    x_t = torch.randn(4, 2, 3, 2, generator=torch.Generator().manual_seed(1)).double()
    t, label = torch.tensor([0.1, 0.5, 0.5, 1.0], dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    plain, smoothed = WienerDenoiser(pool), SmoothedDenoiser(WienerDenoiser(pool), 0.5, 16)
    torch.testing.assert_close(smoothed(x_t, t, label), plain(x_t, t, label), rtol=0, atol=1e-12)
    assert smoothed.classes == (0, 1)
    assert smoothed(x_t.float(), 0.5).dtype == torch.float32


def test_no_width_is_no_change():
    x_t = column([-0.7, 0.1, 0.5])
    expected = IdealDenoiser(TWO)(x_t, 0.3)
    torch.testing.assert_close(SmoothedDenoiser(IdealDenoiser(TWO), 0.0)(x_t, 0.3), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("width", "perturbations"), [(-1.0, 64), (0.1, 0), (0.1, 7)])
def test_bad_settings_are_refused(width, perturbations):
    with pytest.raises(ValueRangeError):
        SmoothedDenoiser(IdealDenoiser(TWO), width, perturbations)
