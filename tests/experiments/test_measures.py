"""Copies, errors and realism against brute force, closed forms, and sets of images whose order is known."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from patchmosaic.analysis.memorisation import nearest_ratios
from patchmosaic.data import load
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import Denoiser, IdealDenoiser, WienerDenoiser
from patchmosaic.errors import DataError
from patchmosaic.experiments import measures
from patchmosaic.experiments.measures import denoising_errors, random_features, realism_distance
from patchmosaic.generation import generate
from patchmosaic.noise import CosineSchedule, EDMSchedule


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.mark.parametrize("stored", ["float32", "uint8"])
def test_nearest_ratios_are_those_of_all_distances(monkeypatch: pytest.MonkeyPatch, stored: str) -> None:
    monkeypatch.setattr("patchmosaic.engine.memory.SCAN_BYTES", 700)  # blocks of about two images
    images = uniform(13, 2, 4, 5)
    if stored == "uint8":
        images = ((images + 1) * 127.5).to(torch.uint8)
    pool, samples = ImageSet(images), uniform(6, 2, 4, 5, seed=1)
    distances = np.linalg.norm(samples.double().numpy()[:, None] - pool.images.double().numpy(), axis=(3, 4))
    distances = np.sort(np.sqrt((distances**2).sum(2)), axis=1)
    np.testing.assert_allclose(nearest_ratios(samples, pool), distances[:, 0] / distances[:, 1], rtol=1e-10)


def test_copies_have_ratio_0_and_the_middle_of_two_images_1() -> None:
    pool = ImageSet(uniform(5, 1, 4, 4))
    twins = ImageSet(torch.cat([pool.images, pool.images]))
    near = pool.images[:1] + 1e-6
    assert nearest_ratios(pool.images, pool).tolist() == [0.0] * 5
    assert nearest_ratios(pool.images, twins).tolist() == [0.0] * 5
    assert 0 < nearest_ratios(near, pool).item() < 1e-5
    apart = torch.tensor([-1.0, 1.0, 0.9])[:, None, None, None].expand(3, 1, 2, 2)
    assert nearest_ratios(torch.zeros(1, 1, 2, 2), ImageSet(apart[:2])).item() == pytest.approx(1.0)
    with pytest.raises(DataError, match="pool of two"):
        nearest_ratios(apart, ImageSet(apart[:1]))


class Scaled(Denoiser):
    """x0_hat = gain x_t / alpha_t, whose error is known."""

    device = torch.device("cpu")

    def __init__(self, gain: float, schedule: Any) -> None:
        self.gain, self.schedule, self.image_shape = gain, schedule, (1, 8, 8)

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        alpha, _ = self.schedule(t)
        return self.gain * x_t / alpha.to(x_t)[:, None, None, None]

    def to(self, device: Any) -> Denoiser:
        return self

    def describe(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("schedule", [CosineSchedule(), EDMSchedule(sigma_max=3.0)])
@pytest.mark.parametrize("gain", [0.0, 1.0, 0.7])
def test_errors_of_a_scaling_are_bias_and_noise(schedule: Any, gain: float) -> None:
    """E(gain (x0 + noise level eps) - x0)² = (1 - gain)² E x0² + gain² noise level²; 19,200 pixels tell it to about 1%."""
    images, times = uniform(300, 1, 8, 8), (0.2, 0.6)
    for error, t in zip(denoising_errors(Scaled(gain, schedule), images, times), times, strict=True):
        expected = (1 - gain) ** 2 * float(images.square().mean()) + gain**2 * float(schedule.noise_level(t)) ** 2
        assert error == pytest.approx(expected, rel=0.05 if gain else 1e-6)


def test_the_same_noise_for_every_denoiser_and_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser, images = Scaled(0.5, CosineSchedule()), uniform(7, 1, 8, 8)
    errors = denoising_errors(denoiser, images, (0.3, 0.8))
    monkeypatch.setattr(measures, "AT_ONCE", 3)
    assert denoising_errors(denoiser, images, (0.3, 0.8)) == pytest.approx(errors, rel=1e-6)


def test_realism_is_the_mean_distance_of_sorted_features() -> None:
    """For two sets of the same size the Wasserstein-1 distance is the mean difference of the sorted values."""
    mine, real = uniform(40, 3, 16, 16), uniform(40, 3, 16, 16, seed=1) ** 3
    a, b = (np.sort(random_features(images).numpy(), axis=0) for images in (mine, real))
    assert a.shape == (40, 64 * 16)
    expected = (np.abs(a - b).mean(0) / np.maximum(b.std(0), 0.1 * b.std(0).mean())).mean()
    assert realism_distance(mine, real) == pytest.approx(expected, rel=1e-9)
    assert realism_distance(real, real) == 0.0
    assert realism_distance(mine.flip(0), real) == pytest.approx(expected, rel=1e-9)


def test_realism_orders_what_a_person_would() -> None:
    """Real digits < digits in noise < a Gaussian of their mean and covariance < their mean image, < digits out of place."""
    pool = load("digits", None).images
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))
    fitted, real, fresh = pool[order[:800]], pool[order[800:1300]], pool[order[1300:1428]]
    gaussian = generate(WienerDenoiser(ImageSet(fitted)), range(128), batch_size=128).clamp(-1, 1)
    copies = generate(IdealDenoiser(ImageSet(fitted)), range(128), batch_size=128).clamp(-1, 1)
    sets = {
        "fresh": fresh,
        "noise": (fresh + 0.3 * torch.randn(fresh.shape, generator=torch.Generator().manual_seed(1))).clamp(-1, 1),
        "gaussian": gaussian,
        "mean": fresh.mean(0, keepdim=True).expand(128, -1, -1, -1),
        "shifted": fresh.roll((3, 4), dims=(2, 3)),
    }
    distances = {name: realism_distance(images, real) for name, images in sets.items()}
    assert list(distances.values()) == sorted(distances.values()), distances
    assert realism_distance(copies, real) < distances["gaussian"]
