"""The linear families against numpy's linear algebra on the whole problem."""

import numpy as np
import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import (
    LocalLinearDenoiser,
    LocalStationaryDenoiser,
    ShrunkWienerDenoiser,
    StationaryDenoiser,
    WienerDenoiser,
)
from patchmosaic.errors import LabelError, PatchMosaicError, PatchSizeError, ValueRangeError
from patchmosaic.noise import SCHEDULES, CosineSchedule, EDMSchedule
from patchmosaic.sampling import ddim, seeds
from schedule_cases import EVERY

SHAPE = (2, 4, 3)
D = 24
every_schedule = pytest.mark.parametrize("schedule", EVERY, ids=list(SCHEDULES))


def pool(n=30, seed=0, shape=SHAPE, labels=None):
    """Correlated pixels and an uneven mean."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    mixed = rng.standard_normal((n, size)) @ rng.standard_normal((size, size)) / size
    return ImageSet(torch.from_numpy(np.tanh(mixed + rng.uniform(-0.5, 0.5, size))).reshape(n, *shape), labels)


def moments(images):
    vectors = images.images.double().flatten(1).numpy()
    return vectors.mean(0), np.cov(vectors.T, bias=True)


def translates(images):
    height, width = images.image_shape[1:]
    return torch.cat([images.images.roll((i, j), (2, 3)) for i in range(height) for j in range(width)]).double()


def wiener(x_t, mean, covariance, alpha, sigma):
    noisy = alpha**2 * covariance + sigma**2 * np.eye(len(mean))
    residual = x_t.flatten(1).numpy() - alpha * mean
    return mean + residual @ (alpha * covariance @ np.linalg.inv(noisy)).T


def scales(schedule, t):
    return tuple(scale.item() for scale in schedule(t))


@every_schedule
@pytest.mark.parametrize("rank", [1, 5, 24])
def test_the_rank_r_filter_is_the_best_of_its_rank(schedule, rank):
    """Acceptance 5. Reduced-rank regression: B C^1/2 is the best rank-r approximation of Sigma C^-1/2, C = Cov(x_t)."""
    images = pool()
    mean, covariance = moments(images)
    x_t = seeds(4, SHAPE).double() * schedule.prior_std()
    for t in (0.1, 0.5, 1.0):
        alpha, sigma = scales(schedule, t)
        variances, axes = np.linalg.eigh(alpha**2 * covariance + sigma**2 * np.eye(D))
        root = axes * variances**-0.5 @ axes.T
        left, values, right = np.linalg.svd(alpha * covariance @ root)
        if alpha == 0:  # nothing is seen
            values[:] = 0
        best = (left[:, :rank] * values[:rank]) @ right[:rank] @ root
        expected = mean + (x_t.flatten(1).numpy() - alpha * mean) @ best.T
        found = WienerDenoiser(images, rank=rank, schedule=schedule)(x_t, t)
        np.testing.assert_allclose(found.flatten(1), expected, atol=1e-10)


def test_what_the_rank_leaves_out_only_shrinks_with_the_noise():
    """Acceptance 5. Orthogonal to the axes (x_t - mu) sigma_T / sigma_t never changes: 1e-12."""
    images, schedule = pool(), EDMSchedule(sigma_max=10.0)
    mean, covariance = moments(images)
    outside = np.linalg.eigh(covariance)[1][:, : D - 3]
    x_T = seeds(3, SHAPE).double() * 10
    start = (x_T.flatten(1).numpy() - mean) @ outside
    for step in ddim(WienerDenoiser(images, rank=3, schedule=schedule), x_T, 8):
        sigma = scales(schedule, step.t)[1]
        np.testing.assert_allclose((step.x_t.flatten(1).numpy() - mean) @ outside, start * sigma / 10, atol=1e-12)
    np.testing.assert_allclose((step.x_next.flatten(1).numpy() - mean) @ outside, 0, atol=1e-12)


@every_schedule
def test_the_stationary_filter_is_the_wiener_filter_of_all_translates(schedule):
    """Acceptance 6, without noise: all second moments of the pool with its translates, by numpy, at 1e-10."""
    images = pool()
    vectors = translates(images).flatten(1).numpy()
    mean, covariance = vectors.mean(0), np.cov(vectors.T, bias=True)
    x_t = seeds(4, SHAPE).double() * schedule.prior_std()
    for t in (0.05, 0.5, 1.0):
        found = StationaryDenoiser(images, schedule=schedule)(x_t, t).flatten(1)
        np.testing.assert_allclose(found, wiener(x_t, mean, covariance, *scales(schedule, t)), atol=1e-10)


def test_the_stationary_filter_is_what_regression_on_shifted_images_finds():
    """Acceptance 6: least squares on 600,000 noisy shifted images, 3%."""
    images, schedule, t = pool(20), CosineSchedule(), 0.5
    alpha, sigma = scales(schedule, t)
    rng, x0 = np.random.default_rng(1), translates(images).repeat(250, 1, 1, 1).flatten(1).numpy()
    seen, wanted = np.zeros((D + 1, D + 1)), np.zeros((D + 1, D))
    for _ in range(10):
        noisy = np.column_stack([alpha * x0 + sigma * rng.standard_normal(x0.shape), np.ones(len(x0))])
        seen, wanted = seen + noisy.T @ noisy, wanted + noisy.T @ x0
    expected = noisy[:300] @ np.linalg.solve(seen, wanted)
    found = StationaryDenoiser(images)(torch.from_numpy(noisy[:300, :D]).reshape(-1, *SHAPE), t).flatten(1).numpy()
    assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected - expected.mean(0))


@pytest.mark.parametrize("kind", [StationaryDenoiser, lambda images: LocalStationaryDenoiser(images, 3)])
def test_a_shifted_image_is_denoised_to_the_shifted_image(kind):
    denoiser, x_t = kind(pool()), seeds(2, SHAPE).double()
    shifted = denoiser(x_t.roll((1, 2), (2, 3)), 0.4)
    torch.testing.assert_close(shifted, denoiser(x_t, 0.4).roll((1, 2), (2, 3)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("t", [0.1, 0.6])
def test_the_taps_are_least_squares_over_the_window(t):
    """The moments of windows of all translates, gathered pixel by pixel and solved by numpy."""
    shape = (2, 5, 7)
    images = pool(shape=shape)
    alpha, sigma = scales(CosineSchedule(), t)
    x0 = translates(images)
    colour = x0.mean((0, 2, 3))
    centred = x0 - colour[:, None, None]
    around = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    windows = np.concatenate([centred[:, :, i % 5, j % 7] for i, j in around], axis=1)  # (n, 9 C)
    seen = alpha**2 * windows.T @ windows / len(windows) + sigma**2 * np.eye(18)
    weights = np.linalg.solve(seen, alpha * windows.T @ centred[:, :, 0, 0].numpy() / len(windows))
    x_t = seeds(3, shape).double()
    residual = x_t - alpha * colour[:, None, None]
    expected = torch.empty_like(x_t)
    for row in range(5):
        for column in range(7):
            window = np.concatenate([residual[:, :, (row + i) % 5, (column + j) % 7] for i, j in around], axis=1)
            expected[:, :, row, column] = colour + torch.from_numpy(window @ weights)
    torch.testing.assert_close(LocalStationaryDenoiser(images, 3)(x_t, t), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("t", [0.1, 0.6])
@pytest.mark.parametrize("patch_size", [1, 3, 5])
def test_every_pixel_has_the_least_squares_of_its_own_window(patch_size, t):
    images, radius = pool(), patch_size // 2
    alpha, sigma = scales(CosineSchedule(), t)
    mean, covariance = moments(images)
    x_t = seeds(3, SHAPE).double()
    residual = x_t.flatten(1).numpy() - alpha * mean
    expected = np.empty_like(residual)
    places = [(c, i, j) for c in range(2) for i in range(4) for j in range(3)]
    for pixel, (_, row, column) in enumerate(places):
        near = [k for k, (_, i, j) in enumerate(places) if abs(i - row) <= radius and abs(j - column) <= radius]
        seen = alpha**2 * covariance[np.ix_(near, near)] + sigma**2 * np.eye(len(near))
        expected[:, pixel] = mean[pixel] + residual[:, near] @ np.linalg.solve(seen, alpha * covariance[near, pixel])
    np.testing.assert_allclose(LocalLinearDenoiser(images, patch_size)(x_t, t).flatten(1), expected, atol=1e-12)


@every_schedule
def test_a_window_that_covers_all_is_wiener(schedule):
    """Acceptance 8, for both local families: 1e-10."""
    images, x_t = pool(), seeds(4, SHAPE).double() * schedule.prior_std()
    vectors = translates(images).flatten(1).numpy()
    for t in (0.1, 0.5, 1.0):
        alpha, sigma = scales(schedule, t)
        windowed = LocalLinearDenoiser(images, 7, schedule=schedule)(x_t, t)
        np.testing.assert_allclose(windowed.flatten(1), wiener(x_t, *moments(images), alpha, sigma), atol=1e-10)
        stationary = LocalStationaryDenoiser(images, 5, schedule=schedule)(x_t, t)
        expected = wiener(x_t, vectors.mean(0), np.cov(vectors.T, bias=True), alpha, sigma)
        np.testing.assert_allclose(stationary.flatten(1), expected, atol=1e-10)


def test_moments_may_be_given_instead_of_a_pool():
    images, x_t = pool(), seeds(2, SHAPE).double()
    mean, covariance = (torch.from_numpy(moment) for moment in moments(images))
    centred = translates(images)
    colour = centred.mean((0, 2, 3))
    centred = centred - colour[:, None, None]
    auto = torch.einsum("nahw,nb->hwab", centred, centred[:, :, 0, 0]) / len(centred)
    for from_pool, given in [
        (WienerDenoiser(images, rank=4), WienerDenoiser.from_moments(mean.view(SHAPE), covariance, rank=4)),
        (ShrunkWienerDenoiser(images, 9), ShrunkWienerDenoiser.from_moments(mean.view(SHAPE), covariance, 9)),
        (LocalLinearDenoiser(images, 3), LocalLinearDenoiser.from_moments(mean.view(SHAPE), covariance, 3)),
        (StationaryDenoiser(images), StationaryDenoiser.from_moments(colour, auto)),
        (LocalStationaryDenoiser(images, 3), LocalStationaryDenoiser.from_moments(colour, auto, 3)),
    ]:
        torch.testing.assert_close(given(x_t, 0.4), from_pool(x_t, 0.4), rtol=0, atol=1e-10)
        assert given.describe() != from_pool.describe()
        with pytest.raises(LabelError, match="no classes"):
            given(x_t, 0.4, 1)


@pytest.mark.parametrize(
    "build",
    [
        lambda images: WienerDenoiser(images, rank=2),
        lambda images: ShrunkWienerDenoiser(images, 5),
        StationaryDenoiser,
        lambda images: LocalStationaryDenoiser(images, 3),
        lambda images: LocalLinearDenoiser(images, 3),
    ],
)
def test_a_class_is_fitted_on_its_own(build):
    images = pool(labels=[3 if i % 3 else 7 for i in range(30)])
    denoiser, x_t = build(images), seeds(3, SHAPE).double()
    t = torch.tensor([0.2, 0.7, 0.2], dtype=torch.float64)
    together = denoiser(x_t, t, torch.tensor([3, 7, 7]))
    for i, label in enumerate((3, 7, 7)):
        alone = build(images.subset(images.labels == label))(x_t[i : i + 1], t[i])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-10)
    assert denoiser(x_t.float(), 0.5).dtype == torch.float32


@pytest.mark.parametrize(("dimension", "count", "noise"), [(40, 60, 0.05), (60, 30, 0.3), (30, 300, 0.01)])
def test_the_mean_filter_of_small_pools(dimension, count, noise):
    """Acceptance 22: the mean of S (S + sigma²)^-1 over drawn covariances S of mean zero, .01."""
    rng = np.random.default_rng(0)
    variances = np.exp(rng.uniform(-3, 1, dimension))
    mean_filter = np.zeros((dimension, dimension))
    for _ in range(3000):
        drawn = rng.standard_normal((count, dimension)) * np.sqrt(variances)
        sample = drawn.T @ drawn / count
        mean_filter += sample @ np.linalg.inv(sample + noise * np.eye(dimension)) / 3000
    schedule = EDMSchedule()
    t = schedule.time_of_snr(1 / noise).item()
    denoiser = ShrunkWienerDenoiser.from_moments(
        torch.zeros(dimension, 1, 1).double(), torch.from_numpy(variances).diag(), count, schedule=schedule
    )
    found = denoiser(torch.eye(dimension, dtype=torch.float64).view(-1, dimension, 1, 1), t).flatten(1).numpy()
    assert np.abs(np.diag(found) - np.diag(mean_filter)).max() < 0.01
    assert abs(np.trace(found - mean_filter)) / dimension < 0.005
    infinite = variances / (variances + noise)
    assert np.abs(infinite - np.diag(mean_filter)).max() > 0.01  # what is tested makes a difference


def test_the_shrunk_filter_of_any_schedule_is_that_of_its_noise_level():
    level = 0.4
    found = []
    for schedule in (CosineSchedule(), EDMSchedule()):
        alpha, _ = schedule(schedule.time_of_snr(level**-2))
        denoiser = ShrunkWienerDenoiser(pool(), 7, schedule=schedule)
        found.append(denoiser(alpha * seeds(2, SHAPE).double(), schedule.time_of_snr(level**-2)))
    torch.testing.assert_close(*found, rtol=0, atol=1e-10)


def test_errors():
    with pytest.raises(ValueRangeError, match="rank"):
        WienerDenoiser(pool(), rank=-1)
    with pytest.raises(PatchMosaicError, match="at least one image, got 0"):
        ShrunkWienerDenoiser(pool(), 0)
    for kind in (LocalStationaryDenoiser, LocalLinearDenoiser):
        for bad in (0, 4, -3):
            with pytest.raises(PatchSizeError, match=f"odd and at least 1, got {bad}"):
                kind(pool(), bad)
