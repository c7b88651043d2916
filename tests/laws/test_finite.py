"""Copies, blurred copies, nearest images and codes: laws beside samples, and the bound of what the start does to them."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import ndtri
from scipy.stats import norm

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser
from patchmosaic.denoisers.bottleneck import CodebookDenoiser, LinearEncoderDenoiser
from patchmosaic.denoisers.relatives import KernelDensityDenoiser, NearestDenoiser
from patchmosaic.errors import NoiseLevelError, PatchMosaicError
from patchmosaic.laws import generated_law
from patchmosaic.laws.finite import FiniteLaw
from patchmosaic.noise import CosineSchedule, EDMSchedule, FlowMatchingSchedule
from patchmosaic.sampling import sample, seeds

ATOMS = np.array([-1.0, -0.25, 0.5, 1.0])
LINE = ImageSet(torch.from_numpy(ATOMS)[:, None, None, None])
IMAGES = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1


def quantiles(count, std):
    return std * torch.from_numpy(ndtri((np.arange(count) + 0.5) / count))[:, None, None, None]


def drawn(denoiser, count, steps, **how):
    return sample(denoiser, seeds(count, denoiser.image_shape).double() * denoiser.schedule.prior_std(), steps, **how).x0


def test_moments_and_spectrum_are_those_of_many_samples_of_the_law():
    law = FiniteLaw((2, 2, 3), torch.rand(4, 2, 2, 3).double(), torch.tensor([0.125, 0.25, 0.375, 0.25]).double(), 0.2)
    rng = np.random.default_rng(0)
    chosen = law.atoms[torch.from_numpy(rng.choice(4, 50_000, p=law.weights.numpy()))]
    samples = chosen + 0.2 * torch.from_numpy(rng.standard_normal(chosen.shape))
    agreement = law.compare(samples)
    assert agreement.mean_error < 0.01
    assert agreement.covariance_error < 0.03
    assert agreement.spectrum_error < 0.03
    assert agreement.ks.max() < 0.01
    assert agreement.off_support == 0


def test_the_ideal_machine_copies_in_equal_shares():
    denoiser = IdealDenoiser(LINE, schedule=EDMSchedule())
    law = generated_law(denoiser, None)
    assert law.atoms.flatten().tolist() == ATOMS.tolist()
    assert law.weights.tolist() == [0.25] * 4
    x0 = sample(denoiser, quantiles(1000, 80.0), 400).x0
    agreement = law.compare(x0)
    assert agreement.wasserstein.max() < 0.01
    assert agreement.off_support < 1e-6


@pytest.mark.parametrize(
    "schedule", [EDMSchedule(sigma_max=3.0), EDMSchedule(), CosineSchedule()], ids=["near", "far", "cosine"]
)
@pytest.mark.parametrize("bandwidth", [0.0, 0.4])
@pytest.mark.parametrize("std", [None, 2.5])
def test_the_bound_of_what_the_start_does_holds(schedule, bandwidth, std):
    """Beside the total variation between start and noisy data, integrated; where it is small the bound is not much larger."""
    law = generated_law(KernelDensityDenoiser(LINE, bandwidth, schedule=schedule), None, std=std)
    alpha, sigma = (float(scale) for scale in schedule(1.0))
    noisy = math.hypot(sigma, alpha * bandwidth)
    start = math.hypot(alpha, sigma) if std is None else std

    def difference(x):
        return abs(norm.pdf(x, 0, start) - norm.pdf(x, alpha * ATOMS, noisy).mean()) / 2

    reach = 8 * max(start, noisy)
    exact = quad(difference, -reach, reach, limit=500, points=[-noisy, 0, noisy])[0]
    assert exact <= law.start_error <= 1
    if std is None:
        assert law.start_error < 0.5


def test_the_kernel_density_blurs():
    """At 200 steps, from every quantile of the start; acceptance 20 itself is in `test_kernel_density`."""
    denoiser = KernelDensityDenoiser(LINE, 0.15, schedule=EDMSchedule(sigma_min=1e-3))
    law = generated_law(denoiser, None)
    start = math.sqrt(80.0**2 + 0.15**2 + ATOMS.var())
    x0 = sample(denoiser, ATOMS.mean() + quantiles(1000, start), 200).x0
    assert law.compare(x0).ks.max() < 0.01
    assert law.line().pdf(np.array([0.5])) == pytest.approx(norm.pdf(0.5, ATOMS, 0.15).mean())


def test_in_finitely_many_steps_the_law_of_one_number_is_known_all_the_same():
    denoiser = KernelDensityDenoiser(LINE, 0.15, schedule=EDMSchedule())
    few, limit = generated_law(denoiser, 5), generated_law(denoiser, None)
    x0 = sample(denoiser, quantiles(1000, 80.0), 5).x0
    assert few.compare(x0).ks.max() < 0.002
    assert limit.compare(x0).ks.max() > 0.02


def test_a_linear_code_copies_or_averages():
    """Images with codes of their own are copied; those that share a code are drawn as their mean, with their shares."""
    pool = ImageSet(torch.tensor([[-0.5, 0.3], [-0.5, -0.7], [0.5, 0.9]])[:, :, None, None])
    denoiser = LinearEncoderDenoiser(pool, torch.tensor([[1.0], [0.0]]), schedule=EDMSchedule())
    law = generated_law(denoiser, None)
    torch.testing.assert_close(law.atoms.flatten(1), torch.tensor([[-0.5, -0.2], [0.5, 0.9]]).double(), atol=1e-6, rtol=0)
    assert law.weights.tolist() == pytest.approx([2 / 3, 1 / 3])
    x0 = drawn(denoiser, 1000, 200)
    agreement = law.compare(x0)
    assert agreement.off_support < 1e-4
    assert abs(float((x0[:, 0] < 0).double().mean()) - 2 / 3) < 0.05


@pytest.mark.parametrize("schedule", [EDMSchedule(sigma_max=1.0), CosineSchedule()], ids=["EDM", "cosine"])
def test_the_nearest_image_is_drawn_as_often_as_its_cell_is_hit(schedule):
    denoiser = NearestDenoiser(LINE, schedule=schedule)
    law = generated_law(denoiser, 7, mean=0.2)
    alpha, sigma = (float(scale) for scale in schedule(1.0))
    borders = [-np.inf, -0.625, 0.125, 0.75, np.inf]
    expected = np.diff(norm.cdf(borders, 0.2 / alpha, math.hypot(alpha, sigma) / alpha))
    np.testing.assert_allclose(law.weights, expected, atol=1e-12)
    x0 = sample(denoiser, 0.2 + quantiles(2000, math.hypot(alpha, sigma)), 7).x0
    shares = [float(((x0 - atom).abs() < 1e-6).double().mean()) for atom in ATOMS]
    np.testing.assert_allclose(shares, expected, atol=1.5e-3)


def test_equal_points_share_their_cell():
    twice = ImageSet(torch.tensor([0.5, -0.5, 0.5])[:, None, None, None])
    assert generated_law(NearestDenoiser(twice)).weights.tolist() == pytest.approx([0.25, 0.5, 0.25])


def test_in_more_dimensions_cells_are_counted():
    denoiser = NearestDenoiser(ImageSet(IMAGES), schedule=EDMSchedule(sigma_max=1.0))
    law = generated_law(denoiser, 3)
    x0 = drawn(denoiser, 4000, 3)
    shares = (x0[:, None] - IMAGES.double()).abs().flatten(2).amax(2) < 1e-6
    np.testing.assert_allclose(shares.double().mean(0), law.weights, atol=0.03)
    assert law.compare(x0).off_support < 1e-6


def test_codes_are_drawn_and_nothing_else():
    denoiser = CodebookDenoiser(ImageSet(IMAGES), 3, cloud=200, schedule=EDMSchedule(sigma_max=5.0))
    law = generated_law(denoiser, 6)
    x0 = drawn(denoiser, 2000, 6)
    agreement = law.compare(x0)
    assert agreement.off_support == 0
    assert agreement.ks.max() < 0.04
    assert agreement.variance_ratio == pytest.approx(1, abs=0.05)


def test_with_a_label_the_law_is_that_of_the_class():
    pool = ImageSet(torch.from_numpy(ATOMS)[:, None, None, None], torch.tensor([0, 1, 0, 1]))
    assert generated_law(IdealDenoiser(pool), None, label=1).atoms.flatten().tolist() == [-0.25, 1.0]
    assert generated_law(NearestDenoiser(pool), label=0).atoms.flatten().tolist() == [-1.0, 0.5]


def test_what_is_not_known_is_refused():
    with pytest.raises(PatchMosaicError, match="limit of many steps"):
        generated_law(IdealDenoiser(ImageSet(IMAGES)), 20)
    with pytest.raises(PatchMosaicError, match="number of steps"):
        generated_law(CodebookDenoiser(LINE, 2, cloud=10), None)
    with pytest.raises(PatchMosaicError, match="added noise"):
        generated_law(NearestDenoiser(LINE), 20, eta=0.5)
    with pytest.raises(NoiseLevelError, match="infinite noise"):
        generated_law(NearestDenoiser(LINE, schedule=FlowMatchingSchedule()))
