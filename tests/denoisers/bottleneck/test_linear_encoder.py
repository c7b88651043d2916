"""The arcsine law, what is lost, and that only the space of the encoder matters."""

import math

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from scipy.stats import arcsine, kstest

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser
from patchmosaic.denoisers.bottleneck import LinearEncoderDenoiser
from patchmosaic.errors import ShapeError
from patchmosaic.noise import EDMSchedule
from patchmosaic.sampling import ddim

FIRST = torch.tensor([[1.0], [0.0]])  # sees the first coordinate of two


def points(first, second):
    return ImageSet(torch.stack([first, second], 1)[:, :, None, None])


def drawn(pool, samples=800, steps=500, highest=10.0):
    """(samples, 2), from every quantile of the first coordinate and any second one."""
    schedule = EDMSchedule(sigma_min=1e-4, sigma_max=highest)
    denoiser = LinearEncoderDenoiser(pool, FIRST, schedule=schedule)
    first = pool.images[:, 0].double()
    spread = math.sqrt(highest**2 + float(first.var(correction=0)))
    start = float(first.mean()) + spread * ndtri((np.arange(samples) + 0.5) / samples)
    other = highest * np.random.default_rng(0).standard_normal(samples)
    for step in ddim(denoiser, torch.from_numpy(np.stack([start, other], 1))[:, :, None, None], steps):
        x0 = step.x_next
    return x0[:, :, 0, 0].numpy()


@pytest.mark.slow
def test_a_ring_becomes_a_segment_with_the_arcsine_law():
    """Acceptance 16: KS < .003 at 500 steps, nothing orthogonal, variance that of the conditional mean (1%)."""
    angles = (torch.arange(800) + 0.5) * math.pi / 800
    cosines, sines = angles.cos(), angles.sin()
    x0 = drawn(points(torch.cat([cosines, cosines]), torch.cat([sines, -sines])))
    assert kstest(x0[:, 0], arcsine(-1, 2).cdf).statistic < 0.003
    assert np.sqrt((x0[:, 1] ** 2).mean()) < 1e-3
    assert x0.var(0).sum() == pytest.approx(0.5, rel=0.01)  # Var E[x0 | z] = Var z; the other half, Cov(x0 | z), is lost


def test_what_is_not_seen_is_the_mean_of_what_could_be():
    """A parabola with noise of its own: the samples lie on the parabola, and their variance is that of E[x0 | z]."""
    first = ((torch.arange(401) - 200) / 250).float()
    offset = torch.tensor([-0.2, 0.2])[:, None].expand(2, 401)
    x0 = drawn(points(first.repeat(2), (first**2 - 0.5 + offset).flatten()), samples=400)
    assert np.sqrt(((x0[:, 1] - x0[:, 0] ** 2 + 0.5) ** 2).mean()) < 1e-3
    curve = np.stack([first.numpy(), first.numpy() ** 2 - 0.5])
    assert x0.var(0).sum() == pytest.approx(curve.var(1).sum(), rel=0.01)


def test_only_the_space_that_the_encoder_spans_matters():
    generator = torch.Generator().manual_seed(0)
    pool = ImageSet(torch.rand(9, 1, 3, 3, generator=generator) * 2 - 1)
    x_t = torch.randn(4, 1, 3, 3, generator=generator).double()
    encoder = torch.randn(9, 2, generator=generator).double()
    mixed = encoder @ torch.tensor([[3.0, 1.0], [-1.0, 0.1]]).double()
    first, second = (LinearEncoderDenoiser(pool, axes)(x_t, 0.4) for axes in (encoder, mixed))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
    blind = torch.linalg.qr(torch.cat([encoder, torch.eye(9).double()], 1)).Q[:, 2:]  # orthogonal to the encoder
    unseen = (blind @ torch.randn(7, 4, generator=generator).double()).T.reshape(4, 1, 3, 3)
    torch.testing.assert_close(LinearEncoderDenoiser(pool, encoder)(x_t + 5 * unseen, 0.4), first, rtol=0, atol=1e-10)


def test_a_rank_means_principal_axes_and_full_rank_the_ideal_machine():
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([0.1, 0.9, 0.3, 0.6]).view(1, 1, 2, 2)
    pool = ImageSet(spread * (torch.rand(50, 1, 2, 2, generator=generator) * 2 - 1))
    x_t = torch.randn(4, 1, 2, 2, generator=generator).double()
    vectors = pool.images.double().flatten(1).numpy()
    axes = np.linalg.svd(vectors - vectors.mean(0))[2][:2].T
    by_svd = LinearEncoderDenoiser(pool, torch.from_numpy(axes.copy()))(x_t, 0.3)
    torch.testing.assert_close(LinearEncoderDenoiser(pool, 2)(x_t, 0.3), by_svd, rtol=0, atol=1e-10)
    torch.testing.assert_close(LinearEncoderDenoiser(pool, 4)(x_t, 0.3), IdealDenoiser(pool)(x_t, 0.3), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "encoder", [0, 5, torch.ones(3, 1), torch.ones(4, 2)], ids=["none", "too many", "wrong dimension", "dependent"]
)
def test_bad_encoders_are_refused(encoder):
    pool = ImageSet(torch.rand(3, 1, 2, 2))
    with pytest.raises(ShapeError):
        LinearEncoderDenoiser(pool, encoder)
