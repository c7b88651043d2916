"""Seeds that always come back, and DDIM against trajectories known in closed form."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, LocalDenoiser, WienerDenoiser
from patchmosaic.errors import LabelError, NoiseLevelError, PatchMosaicError, ShapeError, ValueRangeError
from patchmosaic.noise import SCHEDULES, CosineSchedule, EDMSchedule
from patchmosaic.sampling import (
    check_solver,
    ddim,
    heun,
    log_uniform_times,
    sample,
    seed_labels,
    seeds,
    solve,
    step_noise,
    teleport,
    uniform_times,
)
from schedule_cases import EVERY

SHAPE = (2, 4, 3)
POOL = ImageSet(torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1, [0, 0, 1, 1, 1, 4])
every_schedule = pytest.mark.parametrize("schedule", EVERY, ids=list(SCHEDULES))


# Seeds.


@settings(max_examples=20, deadline=None)
@given(numbers=st.lists(st.integers(0, 10**9), min_size=1, max_size=5), stream=st.integers(0, 10**6))
def test_a_seed_depends_on_its_number_and_stream_alone(numbers, stream):
    together = seeds(numbers, SHAPE, stream)
    for number, noise in zip(numbers, together, strict=True):
        assert torch.equal(seeds([number], SHAPE, stream)[0], noise)


def test_a_count_means_the_first_samples():
    assert torch.equal(seeds(5, SHAPE), seeds([0, 1, 2, 3, 4], SHAPE))
    assert torch.equal(seeds(9, SHAPE)[:5], seeds(5, SHAPE))


def test_seeds_are_those_of_every_other_machine_and_version():
    """Published results name seeds by number: these values, drawn once with torch 2.13 on x86, may never change."""
    drawn = seeds([0, 7], (1, 1, 2)).flatten().tolist()
    assert drawn == pytest.approx([-0.6617082, 0.544171, -0.0333806, -0.9400268], abs=1e-6)
    assert seed_labels(12, range(10)).tolist() == [6, 0, 1, 5, 3, 9, 6, 9, 5, 4, 8, 7]


def test_global_random_state_is_neither_read_nor_written():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = seeds(3, SHAPE), seed_labels(3, [0, 1])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(first, (seeds(3, SHAPE), seed_labels(3, [0, 1])), strict=True))


def test_samples_and_streams_are_unrelated():
    """Neighbouring numbers in neighbouring streams: 30 noises of 4,096 values, all correlations below 5 standard errors."""
    noises = torch.cat([seeds(10, (1, 64, 64), stream) for stream in (0, 1, 2)]).flatten(1).numpy()
    correlations = np.corrcoef(noises) - np.eye(30)
    assert np.abs(correlations).max() < 5 / 64


def test_seeds_are_standard_gaussian():
    noise = seeds(50, (3, 32, 32), 5).numpy()
    assert scipy.stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    assert scipy.stats.kstest(noise[:, 0, 0, 0] * 1.0, "norm").pvalue > 1e-3  # over seeds, at one pixel
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * noise.size)


def test_labels_are_uniform_over_the_classes():
    labels = seed_labels(3000, (2, 5, 9, 11)).tolist()
    counts = [labels.count(label) for label in (2, 5, 9, 11)]
    assert sum(counts) == 3000
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_labels_follow_the_number_not_the_order_of_the_classes():
    labels = seed_labels(20, (2, 5, 9))
    assert torch.equal(labels, seed_labels(20, (9, 2, 5)))
    assert torch.equal(seed_labels([7, 3], (2, 5, 9)), labels[[7, 3]])
    assert not torch.equal(labels, seed_labels(20, (2, 5, 9), seed=1))


def test_labels_are_drawn_apart_from_the_noise():
    noise = seeds(2000, (1, 1, 1)).flatten().numpy()
    labels = seed_labels(2000, (0, 1)).numpy()
    assert scipy.stats.ks_2samp(noise[labels == 0], noise[labels == 1]).pvalue > 1e-3


def test_seed_errors():
    for bad in (0, -1, [], [3, -1]):
        with pytest.raises(PatchMosaicError, match="numbered from 0"):
            seeds(bad, SHAPE)
    with pytest.raises(LabelError, match="classes"):
        seed_labels(3, ())


# DDIM.


@every_schedule
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_one_training_image_gives_a_known_trajectory(schedule, steps):
    """x0_hat is that image, so eps_hat never changes: x_t = alpha_t phi + sigma_t (x_T - alpha_1 phi) / sigma_1."""
    phi = POOL.images[:1].double()
    x_T = seeds(3, SHAPE).double() * schedule.prior_std()
    trajectory = sample(IdealDenoiser(ImageSet(POOL.images[:1]), schedule=schedule), x_T, steps)
    times = np.arange(steps, 0, -1) / steps
    np.testing.assert_allclose(trajectory.times.numpy(), times, rtol=1e-15)
    alpha_1, sigma_1 = schedule(1.0)
    eps = (x_T - alpha_1 * phi) / sigma_1
    for t, x_t in zip(times, trajectory.states[:-1], strict=True):
        alpha, sigma = schedule(torch.tensor(t, dtype=torch.float64))
        torch.testing.assert_close(x_t, alpha * phi + sigma * eps, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(trajectory.x0, phi.expand_as(x_T), rtol=0, atol=1e-12)


def test_ddim_of_a_gaussian_scales_each_mode():
    """With alpha = 1 a step from sigma_t to sigma_s scales a mode of variance l by (l + sigma_t sigma_s) / (l + sigma_t²)."""
    rng = np.random.default_rng(0)
    pool = torch.from_numpy(rng.uniform(-1, 1, (40, 1, 3, 3))).float()
    vectors = pool.flatten(1).double().numpy()
    mean, (variances, modes) = vectors.mean(0), np.linalg.eigh(np.cov(vectors.T, bias=True))
    schedule, steps = EDMSchedule(sigma_max=5.0), 6
    x_T = seeds(4, (1, 3, 3)).double() * schedule.prior_std()
    trajectory = sample(WienerDenoiser(ImageSet(pool), schedule=schedule), x_T, steps)
    sigma = [schedule(torch.tensor(i / steps, dtype=torch.float64))[1].item() for i in range(steps, 0, -1)] + [0.0]
    coordinates = (x_T.flatten(1).numpy() - mean) @ modes
    for i in range(steps):
        coordinates = coordinates * (variances + sigma[i] * sigma[i + 1]) / (variances + sigma[i] ** 2)
        expected = mean + coordinates @ modes.T
        np.testing.assert_allclose(trajectory.states[i + 1].flatten(1).numpy(), expected, rtol=1e-10, atol=1e-10)


def test_finer_steps_converge_to_the_probability_flow():
    """The exact flow in the VE clock multiplies a mode by sqrt((l + s²) / (l + t²)); DDIM's error falls as 1 / steps."""
    pool = ImageSet(torch.tensor([-0.7, -0.1, 0.2, 0.9])[:, None, None, None])
    schedule = EDMSchedule(sigma_min=0.002, sigma_max=5.0)
    mean, variance = pool.images.double().mean().item(), pool.images.double().var(unbiased=False).item()
    x_T = seeds(5, (1, 1, 1)).double() * 5
    exact = mean + (x_T - mean) * np.sqrt(variance / (variance + 25))
    errors = [(sample(WienerDenoiser(pool, schedule=schedule), x_T, n).x0 - exact).abs().max().item() for n in (50, 100, 200)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_trajectory_keeps_every_state(steps):
    seen = []
    trajectory = sample(
        LocalDenoiser(POOL, 3), seeds(2, SHAPE), steps, progress=lambda what, done, total: seen.append((done, total))
    )
    assert trajectory.times.shape == (steps,)
    assert trajectory.states.shape == (steps + 1, 2, *SHAPE)
    assert trajectory.x0_hats.shape == (steps, 2, *SHAPE)
    assert torch.equal(trajectory.states[0], seeds(2, SHAPE))
    assert torch.equal(trajectory.x0, trajectory.states[-1])
    assert torch.equal(trajectory.x0, trajectory.x0_hats[-1])
    assert seen == [(i + 1, steps) for i in range(steps)]


def test_labels_condition_the_whole_trajectory():
    labels = torch.tensor([4, 1, 4])
    drawn = sample(IdealDenoiser(POOL), seeds(3, SHAPE), 5, labels).x0
    torch.testing.assert_close(drawn[[0, 2]], POOL.images[[5, 5]])  # the only image of class 4
    of_class = ImageSet(POOL.images[2:5])
    torch.testing.assert_close(drawn[1:2], sample(IdealDenoiser(of_class), seeds([1], SHAPE), 5).x0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_samples_have_the_precision_of_x_T(dtype):
    assert sample(LocalDenoiser(POOL, 3), seeds(1, SHAPE).to(dtype), 2).x0.dtype == dtype


def test_the_rest_of_the_batch_does_not_matter():
    together = sample(LocalDenoiser(POOL, 3), seeds(4, SHAPE), 8).x0
    alone = torch.cat([sample(LocalDenoiser(POOL, 3), seeds([i], SHAPE), 8).x0 for i in range(4)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-4)


def test_steps_are_made_when_asked_for():
    calls = []

    class Counted(IdealDenoiser):
        def _denoise(self, x_t, t, label):
            calls.append(float(t[0]))
            return super()._denoise(x_t, t, label)

    steps = ddim(Counted(POOL), seeds(1, SHAPE), 1000)
    assert calls == []
    first, second = next(steps), next(steps)
    assert calls == [1.0, 0.999]
    assert torch.equal(second.x_t, first.x_next)


@pytest.mark.parametrize("steps", [0, -3])
def test_a_trajectory_needs_a_step(steps):
    with pytest.raises(PatchMosaicError, match=f"at least one step, got {steps}"):
        sample(IdealDenoiser(POOL), seeds(1, SHAPE), steps)


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match="2x4x3"):
        sample(IdealDenoiser(POOL), seeds(1, (2, 3, 4)))


# A free grid of times.


def test_the_uniform_grid_is_a_grid_like_any_other():
    denoiser, x_T = LocalDenoiser(POOL, 3), seeds(2, SHAPE)
    for solver in ("ddim", "heun"):
        given = sample(denoiser, x_T, times=uniform_times(7), solver=solver)
        assert torch.equal(given.states, sample(denoiser, x_T, 7, solver=solver).states)
    assert uniform_times(4, 0.6).tolist() == pytest.approx([0.6, 0.45, 0.3, 0.15])


def test_denoisers_are_called_at_the_times_given():
    times = torch.tensor([0.9, 0.4, 0.399, 0.01])
    for step, t in zip(ddim(IdealDenoiser(POOL), seeds(1, SHAPE), times=times), times.double(), strict=True):
        assert step.t == t.item()


@every_schedule
def test_log_uniform_times_fall_by_equal_factors(schedule):
    levels = schedule.noise_level(log_uniform_times(schedule, 9, 0.01, 5.0)).numpy()
    np.testing.assert_allclose(levels, np.geomspace(5.0, 0.01, 9), rtol=1e-9)


def test_grid_errors():
    x_T = seeds(1, SHAPE)
    for bad in ([0.5, 0.5], [0.2, 0.4], [1.1, 0.5], [0.5, 0.0], [float("nan")]):
        with pytest.raises(NoiseLevelError, match="decrease inside"):
            sample(IdealDenoiser(POOL), x_T, times=torch.tensor(bad))
    with pytest.raises(PatchMosaicError, match="at least one"):
        sample(IdealDenoiser(POOL), x_T, times=torch.empty(0))
    for lowest, highest in ((0.0, 1.0), (2.0, 1.0)):
        with pytest.raises(NoiseLevelError, match="fall"):
            log_uniform_times(CosineSchedule(), 5, lowest, highest)
    with pytest.raises(NoiseLevelError, match=r"above 0\.002"):
        log_uniform_times(EDMSchedule(), 5, 0.001)
    with pytest.raises(NoiseLevelError, match="fall from a finite one"):
        log_uniform_times(SCHEDULES["FlowMatchingSchedule"](), 5, 0.01)


# Noise on the way.


@every_schedule
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_one_training_image_with_fresh_noise(schedule, eta):
    """x_s = alpha_s phi + sqrt(sigma_s² - c²) eps + c z, c² = eta² sigma_s²/sigma_t² (sigma_t² - sigma_s² alpha_t²/alpha_s²).

    For variance-preserving schedules this c is sigma_tau of DDIM, eq. 16.
    """
    phi, steps = POOL.images[:1].double(), 5
    x_T = seeds(3, SHAPE).double() * schedule.prior_std()
    noise = [np.random.default_rng(i).standard_normal((3, *SHAPE)) for i in range(steps)]
    denoiser = IdealDenoiser(ImageSet(POOL.images[:1]), schedule=schedule)
    drawn = sample(denoiser, x_T, steps, eta=eta, noise=lambda i: torch.from_numpy(noise[i]))
    x_t = x_T.numpy()
    for i in range(steps - 1):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = ([v.item() for v in schedule((steps - k) / steps)] for k in (i, i + 1))
        eps = (x_t - alpha_t * phi.numpy()) / sigma_t
        variance = eta**2 * sigma_s**2 / sigma_t**2 * (sigma_t**2 - sigma_s**2 * alpha_t**2 / alpha_s**2)
        x_t = alpha_s * phi.numpy() + np.sqrt(sigma_s**2 - variance) * eps + np.sqrt(variance) * noise[i]
        np.testing.assert_allclose(drawn.states[i + 1], x_t, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(drawn.x0, phi.expand_as(x_T), rtol=0, atol=1e-12)


def test_noise_on_the_way_depends_on_the_sample_and_the_step_alone():
    denoiser, steps = LocalDenoiser(POOL, 3), 6
    together = sample(denoiser, seeds(4, SHAPE), steps, eta=1.0).x0
    for i in range(4):
        alone = sample(denoiser, seeds([i], SHAPE), steps, eta=1.0, noise=step_noise([i], SHAPE)).x0
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-4)
    assert not torch.equal(step_noise(2, SHAPE)(0), step_noise(2, SHAPE)(1))
    assert not torch.equal(step_noise(2, SHAPE)(0), step_noise(2, SHAPE, 1)(0))
    assert not torch.equal(step_noise(2, SHAPE)(0), seeds(2, SHAPE))


@pytest.mark.parametrize(("solver", "eta"), [("ddim", 0.0), ("ddim", 0.7), ("heun", 0.0)])
def test_a_trajectory_is_taken_up_again_where_it_stopped(solver, eta):
    denoiser, x_T = LocalDenoiser(POOL, 3), seeds(2, SHAPE)
    whole = sample(denoiser, x_T, 6, solver=solver, eta=eta)
    rest = list(solve(denoiser, whole.states[4], 6, done=4, solver=solver, eta=eta))
    assert torch.equal(rest[-1].x_next, whole.x0)
    assert [step.t for step in rest] == whole.times[4:].tolist()


@every_schedule
def test_ddpm_keeps_the_marginals_of_a_gaussian(schedule):
    """With eta = 1 and many steps any start leads to data: the variance of x_T is forgotten, which eta = 0 cannot."""
    pool = ImageSet(torch.tensor([-0.7, -0.1, 0.2, 0.9])[:, None, None, None])
    rng = np.random.default_rng(0)
    x_T = torch.from_numpy(0.3 * rng.standard_normal((4000, 1, 1, 1))) * schedule.prior_std()
    times = schedule.time_of_snr(torch.from_numpy(np.geomspace(20.0, 0.01, 100)) ** -2)
    stochastic = sample(
        WienerDenoiser(pool, schedule=schedule),
        x_T,
        times=times,
        eta=1.0,
        noise=lambda _: torch.from_numpy(rng.standard_normal((4000, 1, 1, 1))),
    )
    assert stochastic.x0.std().item() == pytest.approx(pool.images.std(unbiased=False).item(), rel=0.05)


def test_eta_errors():
    for eta in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueRangeError, match="eta"):
            sample(IdealDenoiser(POOL), seeds(1, SHAPE), eta=eta)
    with pytest.raises(PatchMosaicError, match=r"eta must be 0, got 0\.5"):
        sample(IdealDenoiser(POOL), seeds(1, SHAPE), solver="heun", eta=0.5)
    with pytest.raises(PatchMosaicError, match="no such solver, got euler"):
        check_solver("euler", 0.0)


# Heun.


@pytest.mark.parametrize("schedule", [EDMSchedule(sigma_min=0.002, sigma_max=5.0), CosineSchedule(2.2)])
def test_heun_is_of_second_order(schedule):
    """Down to the last time the error against the exact flow falls as 1 / steps²."""
    pool = ImageSet(torch.tensor([-0.7, -0.1, 0.2, 0.9])[:, None, None, None])
    denoiser, x_T = WienerDenoiser(pool, schedule=schedule), seeds(5, (1, 1, 1)).double() * schedule.prior_std()
    mean, variance = pool.images.double().mean().item(), pool.images.double().var(unbiased=False).item()
    (alpha_1, sigma_1), (alpha, sigma) = schedule(1.0), schedule(0.2)
    exact = (
        alpha * mean + (x_T - alpha_1 * mean) * ((alpha**2 * variance + sigma**2) / (alpha_1**2 * variance + sigma_1**2)).sqrt()
    )
    errors = []
    for steps in (40, 80, 160):
        times = torch.linspace(1, 0.2, steps + 1, dtype=torch.float64)
        errors.append((sample(denoiser, x_T, times=times, solver="heun").states[-2] - exact).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


@every_schedule
def test_heun_of_one_training_image_is_ddim(schedule):
    """Its eps_hat never changes, so the mean of two of them is the same."""
    denoiser = IdealDenoiser(ImageSet(POOL.images[:1]), schedule=schedule)
    x_T = seeds(3, SHAPE).double() * schedule.prior_std()
    by_heun, by_ddim = (sample(denoiser, x_T, 6, solver=solver).states for solver in ("heun", "ddim"))
    torch.testing.assert_close(by_heun, by_ddim, rtol=1e-9, atol=1e-9)


def test_heun_calls_the_denoiser_twice_but_once_at_the_end():
    calls = []

    class Counted(IdealDenoiser):
        def _denoise(self, x_t, t, label):
            calls.append(float(t[0]))
            return super()._denoise(x_t, t, label)

    list(heun(Counted(POOL), seeds(1, SHAPE), 3))
    assert calls == pytest.approx([1, 2 / 3, 2 / 3, 1 / 3, 1 / 3])


# Teleportation.


@every_schedule
@pytest.mark.parametrize("rank", [None, 2])
def test_teleportation_is_where_many_steps_lead(schedule, rank):
    x_T = seeds(3, SHAPE).double() * schedule.prior_std()
    gaussian = WienerDenoiser(POOL, rank=rank, schedule=schedule)
    errors = []
    for steps in (100, 200):
        times = torch.linspace(1, 0.5, steps, dtype=torch.float64)
        there = sample(gaussian, x_T, times=times).states[-2]
        errors.append((teleport(gaussian, x_T, 0.5) - there).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.15)
    assert errors[1] < 0.05 * x_T.abs().max().item()


def test_teleportation_keeps_classes_apart_and_back_is_back():
    gaussian, labels = WienerDenoiser(POOL), torch.tensor([0, 1, 0])
    x_T = seeds(3, SHAPE).double()
    x_t = teleport(gaussian, x_T, 0.3, labels)
    alone = teleport(WienerDenoiser(POOL.subset(POOL.labels == 1)), x_T[1:2], 0.3)
    torch.testing.assert_close(x_t[1:2], alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(gaussian.flow(x_t, 0.3, 1.0, labels), x_T, rtol=0, atol=1e-12)
