"""Mixtures are weighted sums, and their fitted weights those of bounded least squares."""

import numpy as np
import pytest
import scipy.optimize
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, LocalDenoiser, WienerDenoiser
from patchmosaic.denoisers.relatives.mixture import MixtureDenoiser, fitted_weights
from patchmosaic.errors import PatchMosaicError
from patchmosaic.noise import CosineSchedule, EDMSchedule
from patchmosaic.sampling import seeds

SCHEDULE = CosineSchedule()
POOL = ImageSet(0.5 * seeds(12, (1, 5, 5), seed=9).clamp(-2, 2), torch.arange(12) % 3)
PARTS = [LocalDenoiser(POOL, 3), WienerDenoiser(POOL)]


def test_it_is_the_weighted_sum_at_the_nearest_noise_level() -> None:
    low, high = (float(SCHEDULE.noise_level(t)) for t in (0.2, 0.8))
    mixture = MixtureDenoiser(PARTS, {high: (0.25, 0.5), low: (1.5, 0.0)})
    x_t, label = seeds(4, POOL.image_shape), torch.tensor([0, 1, 2, 0])
    for times, weights in ((0.1, (1.5, 0.0)), (0.2, (1.5, 0.0)), (0.8, (0.25, 0.5)), (1.0, (0.25, 0.5))):
        expected = sum(w * part(x_t, times, label) for w, part in zip(weights, PARTS, strict=True))
        torch.testing.assert_close(mixture(x_t, times, label), expected)
    middle = (low * high) ** 0.5
    assert mixture.at_level(middle * 0.99) == (1.5, 0.0)
    assert mixture.at_level(middle * 1.01) == (0.25, 0.5)
    # Each sample at its own time.
    mixed = mixture(x_t, torch.tensor([0.2, 0.8, 0.2, 0.8]), label)
    torch.testing.assert_close(mixed[1:2], mixture(x_t[1:2], 0.8, label[1:2]))


@pytest.mark.parametrize("seed", range(6))
def test_weights_are_those_of_bounded_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    answers = rng.normal(size=(40, 3)) + 0.8 * rng.normal(size=(40, 1))
    target = answers @ rng.normal(size=3) + 0.3 * rng.normal(size=40)
    rows = torch.from_numpy(np.column_stack([answers, target]).T)
    expected = scipy.optimize.lsq_linear(answers, target, bounds=(0, np.inf), tol=1e-14).x
    np.testing.assert_allclose(fitted_weights(rows @ rows.T), expected, atol=1e-6)


def test_equal_parts_share_the_weight_of_one() -> None:
    a = torch.from_numpy(np.random.default_rng(0).normal(size=20))
    rows = torch.stack([a, a, 3 * a])
    weights = fitted_weights(rows @ rows.T)
    assert sum(weights) == pytest.approx(3)
    assert min(weights) >= 0


def test_it_tells_what_it_is() -> None:
    mixture = MixtureDenoiser(PARTS, {1.0: (0.5, 0.5)})
    other = MixtureDenoiser(PARTS, {1.0: (0.5, 0.25)})
    assert mixture.describe() != other.describe()
    assert mixture.classes == (0, 1, 2)
    assert mixture.device == torch.device("cpu")
    assert mixture.to("cpu") is mixture


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(PatchMosaicError, match=r"2 denoisers need as many weights at each noise level, got \[1\]"):
        MixtureDenoiser(PARTS, {1.0: (0.5,)})
    for parts, weights in (([], {1.0: ()}), (PARTS, {})):
        with pytest.raises(PatchMosaicError, match="as many weights"):
            MixtureDenoiser(parts, weights)
    with pytest.raises(PatchMosaicError, match="one schedule"):
        MixtureDenoiser([PARTS[0], IdealDenoiser(POOL, schedule=EDMSchedule())], {1.0: (1.0, 1.0)})
    with pytest.raises(PatchMosaicError, match="something to mix"):
        fitted_weights(torch.eye(1, dtype=torch.float64))
