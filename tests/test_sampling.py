"""Seeds that always come back, and DDIM against trajectories known in closed form."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, LocalDenoiser, WienerDenoiser
from patchmosaic.errors import LabelError, PatchMosaicError, ShapeError
from patchmosaic.noise import SCHEDULES, EDMSchedule
from patchmosaic.sampling import ddim, sample, seed_labels, seeds

SHAPE = (2, 4, 3)
POOL = ImageSet(torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1, [0, 0, 1, 1, 1, 4])
every_schedule = pytest.mark.parametrize("schedule", [kind() for kind in SCHEDULES.values()], ids=list(SCHEDULES))


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
