"""The laws of the linear families: closed forms, ordinary differential equations solved by scipy, and drawn samples."""

import numpy as np
import pytest
import scipy.integrate
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import (
    LocalLinearDenoiser,
    LocalStationaryDenoiser,
    ShrunkWienerDenoiser,
    StationaryDenoiser,
    WienerDenoiser,
)
from patchmosaic.errors import NoiseLevelError
from patchmosaic.laws import generated_law
from patchmosaic.noise import SCHEDULES, CosineSchedule, EDMSchedule, FlowMatchingSchedule
from patchmosaic.sampling import ddim, log_uniform_times, sample, seeds, solve
from schedule_cases import EVERY

SHAPE = (2, 3, 4)
D = 24
LAMBDAS = np.array([0.003, 0.2, 1.0, 7.0])
every_schedule = pytest.mark.parametrize("schedule", EVERY, ids=list(SCHEDULES))
FAMILIES = {
    "wiener": WienerDenoiser,
    "rank 3": lambda pool, **options: WienerDenoiser(pool, rank=3, **options),
    "shrunk": lambda pool, **options: ShrunkWienerDenoiser(pool, 20, **options),
    "stationary": StationaryDenoiser,
    "local stationary": lambda pool, **options: LocalStationaryDenoiser(pool, 3, **options),
    "local": lambda pool, **options: LocalLinearDenoiser(pool, 3, **options),
}
every_family = pytest.mark.parametrize("family", FAMILIES)


def pool(n=40, seed=0, shape=SHAPE):
    """Correlated pixels and an uneven mean."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    mixed = rng.standard_normal((n, size)) @ rng.standard_normal((size, size)) / size
    return ImageSet(torch.from_numpy(np.tanh(mixed + rng.uniform(-0.5, 0.5, size))).reshape(n, *shape))


def modes(variances=LAMBDAS, schedule=None, mean=0.0):
    """A Gaussian of independent coordinates: an image of shape (D, 1, 1)."""
    variances = torch.as_tensor(variances, dtype=torch.float64)
    mean = torch.full((len(variances), 1, 1), float(mean), dtype=torch.float64)
    return WienerDenoiser.from_moments(mean, variances.diag(), schedule=schedule)


def variance_of(law):
    return law.covariance().diagonal().numpy()


def scales(schedule, t):
    return tuple(scale.item() for scale in schedule(t))


def affine(denoiser, steps, **how):
    """The matrix and the offset of the map from x_T to the sample, from the sampler's answers to the unit vectors."""
    size = int(np.prod(denoiser.image_shape))
    points = torch.cat([torch.zeros(1, size), torch.eye(size)]).double().view(-1, *denoiser.image_shape)
    *_, last = solve(denoiser, points, steps, **how)
    images = last.x_next.flatten(1).numpy()
    return (images[1:] - images[0]).T, images[0]


@every_schedule
def test_one_step_of_ddim_and_heun_scales_each_mode(schedule):
    """Acceptance 1, in the clock y = x / alpha, L = sigma / alpha, for the sampler itself: 1e-12."""
    times = torch.tensor([0.8, 0.5], dtype=torch.float64)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (scales(schedule, t) for t in times)
    level_t, level_s = sigma_t / alpha_t, sigma_s / alpha_s
    gains = {"ddim": (LAMBDAS + level_t * level_s) / (LAMBDAS + level_t**2)}
    f_t, f_s = (level / (LAMBDAS + level**2) for level in (level_t, level_s))
    h = level_s - level_t
    gains["heun"] = 1 + h / 2 * (f_t + f_s * (1 + h * f_t))
    y = np.random.default_rng(0).standard_normal((3, 4))
    x_t = torch.from_numpy(alpha_t * (y + 0.3)).view(3, 4, 1, 1)
    for solver, gain in gains.items():
        drawn = sample(modes(schedule=schedule, mean=0.3), x_t, times=times, solver=solver)
        np.testing.assert_allclose(drawn.states[1].flatten(1) / alpha_s, 0.3 + gain * y, rtol=1e-12, atol=1e-12)
        last = LAMBDAS / (LAMBDAS + level_s**2)  # Euler, to clean data
        np.testing.assert_allclose(drawn.x0.flatten(1), 0.3 + last * gain * y, rtol=1e-12, atol=1e-12)
        law = generated_law(modes(schedule=schedule, mean=0.3), times=times, solver=solver, std=1.7 * alpha_t)
        np.testing.assert_allclose(variance_of(law), (1.7 * last * gain) ** 2, rtol=1e-12)
        np.testing.assert_allclose(law.mean().flatten(), 0.3 - 0.3 * last * gain, rtol=1e-12)


@every_schedule
def test_the_continuous_limit_generates_the_data(schedule):
    """Acceptance 2: from N(alpha mu, sigma_T²) the covariance is l L² / (l + L²), which is l from infinite noise; 1e-8."""
    alpha, sigma = scales(schedule, 1.0)
    law = generated_law(modes(schedule=schedule, mean=0.4), None, mean=alpha * 0.4, std=sigma)
    expected = LAMBDAS * sigma**2 / (alpha**2 * LAMBDAS + sigma**2)
    np.testing.assert_allclose(variance_of(law), expected, rtol=1e-8)
    np.testing.assert_allclose(law.mean().flatten(), 0.4, rtol=1e-8)
    cold = generated_law(modes(schedule=schedule, mean=0.4), None, mean=0.0, std=sigma)  # a start that knows no mean
    error = -alpha * 0.4 * np.sqrt(LAMBDAS / (alpha**2 * LAMBDAS + sigma**2))
    np.testing.assert_allclose(cold.mean().flatten() - 0.4, error, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_the_continuous_limit_solves_its_equation(eta):
    """Acceptance 2: dv / dL² = (1 + eta²) v / (l + L²) - eta², from 9 down to 0 and an arbitrary start, by scipy; 1e-8."""
    law = generated_law(modes(schedule=EDMSchedule(sigma_max=3.0)), None, eta=eta, std=1.9)
    for variance, found in zip(LAMBDAS, variance_of(law), strict=True):

        def slope(u, v, variance=variance):
            return (1 + eta**2) * v / (variance + u) - eta**2

        solved = scipy.integrate.solve_ivp(slope, (9.0, 0.0), [1.9**2], "DOP853", rtol=1e-12, atol=1e-14).y[0, -1]
        assert found == pytest.approx(solved, rel=1e-8)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_the_integrated_limit_is_the_closed_one(eta):
    """Where all pixels are in every window, or the noise is as good as known, there are two ways to the same law."""
    images = pool()
    exact = generated_law(WienerDenoiser(images), None, eta=eta)
    for denoiser in (LocalLinearDenoiser(images, 7), ShrunkWienerDenoiser(images, 10**12)):
        law = generated_law(denoiser, None, eta=eta)
        assert (law.covariance() - exact.covariance()).norm() < 1e-6 * exact.covariance().norm()
        torch.testing.assert_close(law.mean(), exact.mean(), rtol=0, atol=1e-6)


def test_ddim_always_generates_too_little_variance():
    """Acceptance 3: whatever the grid, below the continuous limit, which is below the target."""
    rng = np.random.default_rng(0)
    for steps in (1, 2, 5, 20, 100):
        for schedule in (EDMSchedule(), CosineSchedule()):
            alpha, sigma = scales(schedule, 1.0)
            limit = LAMBDAS * sigma**2 / (alpha**2 * LAMBDAS + sigma**2)
            times = torch.from_numpy(np.sort(np.r_[1.0, rng.uniform(0.01, 1, steps - 1)])[::-1].copy())
            variance = variance_of(generated_law(modes(schedule=schedule), times=times, std=sigma))
            assert (variance < limit * (1 - 1e-9)).all()
            assert (limit < LAMBDAS).all()


def test_the_deficit_of_small_uniform_steps():
    """Acceptance 3: log variance is too small by h pi / (4 sqrt(l)) for steps h of sigma; .1%."""
    variances, top, h = np.array([1.0, 4.0]), 25.0, 0.005
    schedule = EDMSchedule(sigma_min=0.0, sigma_max=top, rho=1.0)
    law = generated_law(modes(variances, schedule), round(top / h), std=top)
    deficit = np.log(variances * top**2 / (variances + top**2)) - np.log(variance_of(law))
    np.testing.assert_allclose(deficit, h * np.pi / (4 * np.sqrt(variances)), rtol=1e-3)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("schedule", [EDMSchedule(sigma_max=5.0), CosineSchedule()])
def test_fresh_noise_against_samples(eta, schedule):
    """Acceptance 4: the variance of 400,000 samples of each mode, 1%."""
    rng, count, steps = np.random.default_rng(0), 400_000, 6

    def noise(_=0):
        return torch.from_numpy(rng.standard_normal((count, 4, 1, 1)))

    *_, last = ddim(modes(schedule=schedule), noise() * schedule.prior_std(), steps, eta=eta, noise=noise)
    law = generated_law(modes(schedule=schedule), steps, eta=eta)
    np.testing.assert_allclose(last.x_next.flatten(1).var(0), variance_of(law), rtol=0.01)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_recursion_of_fresh_noise(eta):
    """Acceptance 4: s² = eta² sigma_s² (1 - sigma_s²/sigma_t²), v_s = k² v_t + s², in plain numbers; 1e-12."""
    schedule, steps = EDMSchedule(), 9
    sigma = [scales(schedule, i / steps)[1] for i in range(steps, 0, -1)]
    v = np.full(4, 1.0 + 80.0**2)
    for t, s in zip(sigma, [*sigma[1:], 0.0], strict=True):
        added = eta**2 * s**2 * (1 - s**2 / t**2)
        v = ((LAMBDAS + t * np.sqrt(s**2 - added)) / (LAMBDAS + t**2)) ** 2 * v + added
    np.testing.assert_allclose(variance_of(generated_law(modes(schedule=schedule), steps, eta=eta)), v, rtol=1e-12)


@every_family
@every_schedule
@pytest.mark.parametrize("solver", ["ddim", "heun"])
def test_every_family_against_the_sampler(family, schedule, solver):
    """The sampler is an affine map of x_T: its matrix and offset, read off from unit vectors, give mean and covariance."""
    denoiser = FAMILIES[family](pool(), schedule=schedule)
    matrix, offset = affine(denoiser, 5, solver=solver)
    law = generated_law(denoiser, 5, solver=solver, mean=0.2, std=1.3)
    np.testing.assert_allclose(law.mean().flatten(), offset + 0.2 * matrix.sum(1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(law.covariance(), 1.3**2 * matrix @ matrix.T, rtol=1e-9, atol=1e-10)
    fields = np.linalg.cholesky(law.covariance().numpy() + 1e-13 * np.eye(D)).T.reshape(D, *SHAPE)
    power = (np.abs(np.fft.fft2(fields, norm="ortho")) ** 2).sum(0)
    np.testing.assert_allclose(law.spectrum(), power, rtol=1e-6, atol=1e-10)
    direction = seeds(1, SHAPE)[0].double()
    line = law.along(direction)
    assert line.mean == pytest.approx((direction * law.mean()).sum().item())
    assert line.std**2 == pytest.approx((direction.flatten() @ law.covariance() @ direction.flatten()).item(), abs=1e-12)


@every_family
def test_every_family_with_fresh_noise(family):
    """A step of eta = 1 adds c² I, which the rest of the way maps like a start of that variance."""
    denoiser = FAMILIES[family](pool(), schedule=CosineSchedule())
    times = torch.tensor([1.0, 0.6, 0.3], dtype=torch.float64)
    (alpha_t, sigma_t), (alpha_s, sigma_s), (alpha_r, sigma_r) = (scales(denoiser.schedule, t) for t in times)
    points = torch.cat([torch.zeros(1, D), torch.eye(D)]).double().view(-1, *SHAPE)

    def linear(map_of):
        images = map_of(points).flatten(1).numpy()
        return (images[1:] - images[0]).T

    def step(x, t, s, eta):
        return next(ddim(denoiser, x, times=torch.tensor([t, s]), eta=eta, noise=lambda _: torch.zeros_like(x))).x_next

    first, second = (linear(lambda x, t=t, s=s: step(x, t, s, 1.0)) for t, s in ((times[0], times[1]), (times[1], times[2])))
    last = linear(lambda x: denoiser(x, times[2]))
    levels = sigma_t / alpha_t, sigma_s / alpha_s, sigma_r / alpha_r
    added = sigma_s**2 * (1 - (levels[1] / levels[0]) ** 2), sigma_r**2 * (1 - (levels[2] / levels[1]) ** 2)
    covariance = second @ (first @ first.T + added[0] * np.eye(D)) @ second.T + added[1] * np.eye(D)
    law = generated_law(denoiser, times=times, eta=1.0, std=1.0)
    np.testing.assert_allclose(law.covariance(), last @ covariance @ last.T, rtol=1e-9, atol=1e-10)


def test_what_a_convolution_generates_is_stationary_with_the_spectrum_of_the_data():
    """Acceptance 6: 4,000 steps of the sampler itself; .5% at each frequency."""
    images, schedule = pool(shape=(1, 4, 4)), EDMSchedule(sigma_min=1e-5)
    denoiser = StationaryDenoiser(images, schedule=schedule)
    matrix, _ = affine(denoiser, 4000, times=log_uniform_times(schedule, 4000, 1e-4))
    fields = matrix.T.reshape(16, 4, 4) * 80.0
    power = (np.abs(np.fft.fft2(fields, norm="ortho")) ** 2).sum(0)
    centred = images.images.double().numpy() - images.images.double().mean().item()
    expected = (np.abs(np.fft.fft2(centred, norm="ortho")) ** 2).mean((0, 1))
    np.testing.assert_allclose(power, expected, rtol=0.005)
    law = generated_law(denoiser, None, mean=images.images.mean().item(), std=80.0)
    np.testing.assert_allclose(law.spectrum()[0], expected, rtol=0.005)
    np.testing.assert_allclose(law.mean(), images.images.mean().item(), atol=1e-3)


def test_three_taps_do_not_generate_the_process_they_were_fitted_to():
    """Acceptance 7: AR(1), rho = .9: variance .807±.01, lag-1 .616±.01; and DDIM-1500 agrees within 1%."""
    length, schedule = 128, EDMSchedule(sigma_min=1e-5)
    lags = np.minimum(np.arange(length), length - np.arange(length))
    target = torch.from_numpy(0.9**lags).view(1, length, 1, 1)
    denoiser = LocalStationaryDenoiser.from_moments(torch.zeros(1).double(), target, 3, schedule=schedule)
    law = generated_law(denoiser, None, std=80.0)
    covariance = law.covariance()
    assert covariance[0, 0].item() == pytest.approx(0.807, abs=0.01)
    assert covariance[0, 1].item() == pytest.approx(0.616, abs=0.01)
    x_T = torch.zeros(1, 1, 1, length, dtype=torch.float64)
    x_T[..., 0] = 80.0
    *_, last = ddim(denoiser, x_T, times=log_uniform_times(schedule, 1500, 1e-4))
    power = np.abs(np.fft.fft(last.x_next.flatten().numpy())) ** 2
    np.testing.assert_allclose(law.spectrum().flatten(), power, rtol=0.01)


def test_the_local_spectrum_is_an_integral():
    """Acceptance 7: P_k = lim L_T² exp(-2 int (1 - w_k(s)) ds / s), by scipy's quadrature at a few frequencies; 1e-5."""
    length = 16
    lags = np.minimum(np.arange(length), length - np.arange(length))
    target = 0.6**lags
    denoiser = LocalStationaryDenoiser.from_moments(
        torch.zeros(1).double(), torch.from_numpy(target).view(1, length, 1, 1), 3, schedule=EDMSchedule()
    )
    law = generated_law(denoiser, None, std=80.0)
    normal, right = target[np.abs(np.subtract.outer([-1, 0, 1], [-1, 0, 1]))], target[[1, 0, 1]]
    for k in (0, 3, 8):

        def shrunk(u, k=k):
            taps = np.linalg.solve(normal + np.exp(2 * u) * np.eye(3), right)
            return 1 - taps @ np.cos(2 * np.pi * k * np.array([-1, 0, 1]) / length)

        lowest = 1e-6
        integral, _ = scipy.integrate.quad(shrunk, np.log(lowest), np.log(80.0), epsabs=1e-10, epsrel=1e-10, limit=200)
        assert law.spectrum()[0, 0, k].item() == pytest.approx(80.0**2 * np.exp(-2 * integral), rel=1e-5)


def test_what_windows_of_their_own_generate():
    """Acceptance 7, position-dependent: the matrix equation solved by scipy, 1e-5; and it differs from the target."""
    images, schedule = pool(shape=(1, 2, 4)), EDMSchedule(sigma_max=10.0)
    denoiser = LocalLinearDenoiser(images, 3, schedule=schedule)
    vectors = images.images.double().flatten(1).numpy()
    sigma, places = np.cov(vectors.T, bias=True), [(i, j) for i in range(2) for j in range(4)]
    near = [[k for k, q in enumerate(places) if abs(p[0] - q[0]) <= 1 and abs(p[1] - q[1]) <= 1] for p in places]

    def slope(u, flat):
        weights = np.zeros((8, 8))
        for i, window in enumerate(near):
            seen = sigma[np.ix_(window, window)] + np.exp(2 * u) * np.eye(len(window))
            weights[i, window] = np.linalg.solve(seen, sigma[window, i])
        return ((np.eye(8) - weights) @ flat.reshape(8, 8)).ravel()

    span = np.log(10.0), np.log(1e-5)
    matrix = scipy.integrate.solve_ivp(slope, span, np.eye(8).ravel(), "DOP853", rtol=1e-9, atol=1e-13).y[:, -1].reshape(8, 8)
    law = generated_law(denoiser, None, std=10.0)
    expected = 100 * matrix @ matrix.T
    assert (law.covariance() - torch.from_numpy(expected)).norm() < 1e-5 * np.linalg.norm(expected)
    assert (law.covariance() - torch.from_numpy(sigma)).norm() > 0.01 * np.linalg.norm(sigma)


def test_a_rank_r_denoiser_generates_its_axes_only():
    images = pool()
    law = generated_law(WienerDenoiser(images, rank=3), 20)
    vectors = images.images.double().flatten(1).numpy()
    mean, axes = vectors.mean(0), np.linalg.eigh(np.cov(vectors.T, bias=True))[1][:, -3:]
    assert torch.linalg.matrix_rank(law.covariance(), rtol=1e-10).item() == 3
    drawn = sample(WienerDenoiser(images, rank=3), seeds(5, SHAPE).double(), 20).x0
    np.testing.assert_allclose(law.distance_to_support(drawn), 0, atol=1e-10)
    others = seeds(5, SHAPE, 1).double()
    residual = others.flatten(1).numpy() - mean
    expected = np.linalg.norm(residual - residual @ axes @ axes.T, axis=1)
    np.testing.assert_allclose(law.distance_to_support(others), expected, rtol=1e-9)


def test_a_limit_that_starts_at_infinity():
    flow = FlowMatchingSchedule()
    generated_law(WienerDenoiser(pool(), schedule=flow), None)
    with pytest.raises(NoiseLevelError, match="finite noise level"):
        generated_law(LocalStationaryDenoiser(pool(), 3, schedule=flow), None)
    late = generated_law(LocalStationaryDenoiser(pool(), 3, schedule=flow), None, times=torch.tensor([0.99]).double())
    assert torch.isfinite(late.covariance()).all()
