"""The law of its samples, and its limits."""

import math

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from scipy.stats import norm

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser
from patchmosaic.denoisers.relatives import KernelDensityDenoiser
from patchmosaic.errors import ValueRangeError
from patchmosaic.noise import CosineSchedule, EDMSchedule
from patchmosaic.sampling import ddim


def last(steps):
    for step in steps:
        x0 = step.x_next
    return x0


@pytest.mark.parametrize("schedule", [EDMSchedule(sigma_min=1e-3), CosineSchedule()], ids=["EDM", "cosine"])
def test_samples_are_training_points_with_noise(schedule):
    """Acceptance 20: at 1,000 steps the distribution function of p_n * N(0, h²), within KS .002, from every quantile."""
    atoms, h, count = np.array([-1.0, -0.25, 0.5, 1.0]), 0.15, 1000
    start = ndtri((np.arange(count) + 0.5) / count)
    alpha, sigma = (float(scale) for scale in schedule(1.0))
    # N(0, 1) seeds, scaled as the noisy data are: their own spread makes a difference where alpha is not small.
    x_T = alpha * atoms.mean() + math.sqrt(alpha**2 * (atoms.var() + h**2) + sigma**2) * torch.from_numpy(start)
    denoiser = KernelDensityDenoiser(ImageSet(torch.from_numpy(atoms)[:, None, None, None]), h, schedule=schedule)
    x0 = np.sort(last(ddim(denoiser, x_T[:, None, None, None], 1000)).flatten().numpy())
    law = np.mean([norm.cdf(x0, atom, h) for atom in atoms], 0)
    ranks = np.arange(count + 1) / count
    assert max(np.abs(law - ranks[1:]).max(), np.abs(law - ranks[:-1]).max()) < 0.002
    gaussian = norm.cdf(x0, atoms.mean(), math.sqrt(atoms.var() + h**2))
    assert np.abs(gaussian - ranks[1:]).max() > 0.02  # the Gaussian of the same moments is far: the test can fail


def test_without_bandwidth_it_is_the_ideal_machine():
    pool = ImageSet(torch.linspace(-1, 1, 5 * 12).view(5, 3, 2, 2))
    x_t = torch.randn(3, 3, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    times = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(KernelDensityDenoiser(pool, 0.0)(x_t, times), IdealDenoiser(pool)(x_t, times))


@pytest.mark.parametrize("bandwidth", [-0.1, math.inf, math.nan])
def test_a_bandwidth_is_a_number_from_0_up(bandwidth):
    with pytest.raises(ValueRangeError, match="bandwidth"):
        KernelDensityDenoiser(ImageSet(torch.zeros(1, 1, 1, 1)), bandwidth)
