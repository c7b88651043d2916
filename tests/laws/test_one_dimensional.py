"""The law on the line of any denoiser: against closed forms, the divergence formula, and samples."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from patchmosaic.data.imageset import ImageSet
from patchmosaic.data.targets import bimodal
from patchmosaic.denoisers import IdealDenoiser
from patchmosaic.denoisers.polynomial import ExactPolynomialDenoiser, RandomFeatureDenoiser
from patchmosaic.errors import NoiseLevelError, PatchMosaicError
from patchmosaic.laws.base import Drawing, generated_law
from patchmosaic.laws.one_dimensional import TransportedLine, one_dimensional_law
from patchmosaic.noise import CosineSchedule, EDMSchedule, FlowMatchingSchedule
from patchmosaic.sampling import log_uniform_times, sample, seeds

EXPLODING = EDMSchedule()


def polynomial(degree, share=0.3, schedule=EXPLODING, std=0.1):
    return ExactPolynomialDenoiser.from_points(*bimodal(std, share).points(2 * degree), degree=degree, schedule=schedule)


def draws(n=4000, schedule=EXPLODING, seed=0):
    return schedule.prior_std() * seeds(n, (1, 1, 1), seed=seed).double()


@pytest.mark.parametrize("schedule", [EXPLODING, CosineSchedule()], ids=lambda schedule: type(schedule).__name__)
def test_degree_1_has_the_gaussian_law_of_its_steps(schedule):
    """DDIM multiplies the deviation by (l + sigma_t sigma_s) / (l + sigma_t²) at each step, in y = x / alpha."""
    mean, variance, steps = -0.2, 0.21 + 0.01, 30
    law = generated_law(polynomial(1, schedule=schedule), steps)
    alpha, sigma = schedule(torch.arange(steps, 0, -1, dtype=torch.float64) / steps)
    levels = [*(sigma / alpha).tolist(), 0.0]
    gain = np.prod([(variance + t * s) / (variance + t * t) for t, s in pairwise(levels)])
    std = gain * schedule.prior_std() / float(alpha[0])
    middle = mean * (1 - gain)
    assert float(law.mean()) == pytest.approx(middle, abs=1e-9)
    assert float(law.covariance()) == pytest.approx(std**2, rel=1e-9)
    x = np.linspace(-2, 2, 31)
    np.testing.assert_allclose(law.line().pdf(x), stats.norm.pdf(x, middle, std), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(law.line().cdf(x), stats.norm.cdf(x, middle, std), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(
        law.line().ppf(np.array([0.01, 0.5, 0.9])), stats.norm.ppf([0.01, 0.5, 0.9], middle, std), rtol=1e-8
    )


def test_the_continuous_limit_of_degree_1_is_the_gaussian_but_for_its_ends():
    """It starts from N(0, sigma_T² + 1) instead of the noisy target, and x0_hat is taken at sigma_min."""
    law, variance, start = generated_law(polynomial(1), None), 0.22, 1 + 80**2
    gain = (variance / (variance + 80**2)) ** 0.5 * (variance / (variance + EXPLODING.sigma_min**2)) ** 0.5
    assert float(law.covariance()) == pytest.approx(start * gain**2, rel=2e-6)
    assert float(law.mean()) == pytest.approx(-0.2 * (1 - gain), rel=2e-6)


def test_the_continuous_density_is_that_of_the_divergence():
    """log q(x0) = log N(y; 0, sigma_T²) + int d/dy[(y - D) / sigma] dsigma along the flow, by scipy's integrator."""
    denoiser, lowest = polynomial(3), EXPLODING.sigma_min

    def x0_hat_and_slope(y, level):
        t, h = float(EXPLODING.time_of_snr(level**-2)), 1e-4 * (level + 0.1)
        stencil = torch.from_numpy(np.stack([y, y + h, y - h], 1)).view(-1, 1, 1, 1)
        here, above, below = denoiser(stencil, t).view(-1, 3).numpy().T
        return here, (above - below) / (2 * h)

    def flow(log_level, state):
        y, _ = np.split(state, 2)
        x0_hat, slope = x0_hat_and_slope(y, np.exp(log_level))
        return np.concatenate([y - x0_hat, slope - 1])  # along it log p falls by the divergence of dy/dln(sigma)

    y = np.linspace(-220, 220, 12)
    state = np.concatenate([y, stats.norm.logpdf(y, 0, EXPLODING.prior_std())])
    end = integrate.solve_ivp(flow, np.log([80, lowest]), state, method="DOP853", rtol=1e-9, atol=1e-9).y[:, -1]
    y, log_density = np.split(end, 2)
    x0, slope = x0_hat_and_slope(y, lowest)
    line = generated_law(denoiser, None).line()
    np.testing.assert_allclose(line.pdf(x0), np.exp(log_density) / slope, rtol=1e-5)


@pytest.mark.parametrize(("degree", "steps", "solver"), [(3, 20, "ddim"), (3, 60, "heun"), (9, 12, "ddim")])
def test_samples_follow_it_also_where_steps_fold_the_line(degree, steps, solver):
    """By KS at 4,000 samples, whose .99 quantile is .026; degree 9 in 12 steps has many sheets."""
    denoiser = polynomial(degree)
    law = generated_law(denoiser, steps, solver=solver)
    x0 = sample(denoiser, draws(), steps, solver=solver).x0
    agreement = law.compare(x0)
    assert float(agreement.ks.max()) < 0.026
    assert agreement.off_support < 1e-9
    assert agreement.variance_ratio == pytest.approx(1, abs=0.1)
    folds = len(law.line().sheets) > 1
    assert folds == (solver == "ddim")


def test_a_memorising_denoiser_has_steps_for_its_images():
    """Five points: a fifth of the mass near each, and almost none between them."""
    points = torch.tensor([-0.9, -0.5, 0.0, 0.4, 0.8]).view(-1, 1, 1, 1)
    denoiser = IdealDenoiser(ImageSet(points), schedule=EXPLODING)
    times = log_uniform_times(EXPLODING, 150, 0.0021)
    law = one_dimensional_law(denoiser, Drawing(EXPLODING, times, False, "heun", 0.0, torch.zeros(()), 80.0, None))
    between = torch.tensor([-0.7, -0.25, 0.2, 0.6]).numpy()
    np.testing.assert_allclose(law.line().cdf(between), [0.2, 0.4, 0.6, 0.8], atol=0.01)
    np.testing.assert_allclose(law.line().cdf(between + 0.1) - law.line().cdf(between - 0.1), 0, atol=0.01)


def test_folds_and_rests_of_a_known_map():
    """T = z² is chi-squared; T = |z| clipped at 1 has an atom there."""
    z = np.linspace(-8, 8, 4001)
    x = np.array([0.05, 0.5, 1.0, 3.0])
    square = TransportedLine(z, z**2)
    assert len(square.sheets) == 2
    np.testing.assert_allclose(square.cdf(x), stats.chi2.cdf(x, 1), atol=1e-9)
    np.testing.assert_allclose(square.pdf(x), stats.chi2.pdf(x, 1), rtol=1e-7)
    np.testing.assert_allclose(square.ppf(np.array([0.2, 0.5, 0.9])), stats.chi2.ppf([0.2, 0.5, 0.9], 1), atol=1e-4)
    assert square.moments() == pytest.approx((1, 2), rel=1e-9)
    clipped = TransportedLine(z, z.clip(-1, 1))
    np.testing.assert_allclose(clipped.cdf(np.array([-1.0001, 0.3, 1.0])), [0, stats.norm.cdf(0.3), 1], atol=1e-6)
    assert float(clipped.cdf(np.array([-1.0]))[0]) == pytest.approx(stats.norm.cdf(-1), abs=1e-6)
    mirrored = square.scaled(-1.0)
    np.testing.assert_allclose(mirrored.cdf(-x), stats.chi2.sf(x, 1), atol=1e-9)


def test_a_class_has_its_law():
    pool = ImageSet(torch.tensor([-0.8, -0.6, 0.5, 0.9]).view(-1, 1, 1, 1), [0, 0, 1, 1])
    denoiser = ExactPolynomialDenoiser(pool, 2, schedule=EXPLODING)
    law = generated_law(denoiser, 40, label=1)
    assert float(law.compare(sample(denoiser, draws(1000), 40, 1).x0).ks.max()) < 1.63 / 1000**0.5


def test_what_it_refuses():
    with pytest.raises(PatchMosaicError, match="eta"):
        generated_law(polynomial(2), 5, eta=0.5)
    with pytest.raises(NoiseLevelError, match="finite noise level"):
        generated_law(polynomial(2, schedule=FlowMatchingSchedule()), None)
    with pytest.raises(PatchMosaicError, match="not known"):
        generated_law(RandomFeatureDenoiser(ImageSet(torch.zeros(2, 1, 2, 2)), 2, 3), 5)
