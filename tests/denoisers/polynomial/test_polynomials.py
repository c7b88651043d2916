"""What all polynomial denoisers share: degree 1, classes, schedules, and the bound that holds them back."""

import numpy as np
import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.polynomial import (
    ExactPolynomialDenoiser,
    PatchPolynomialDenoiser,
    RandomFeatureDenoiser,
    SeparablePolynomialDenoiser,
)
from patchmosaic.engine import oracle
from patchmosaic.errors import PatchMosaicError, ValueRangeError
from patchmosaic.noise import SCHEDULES, CosineSchedule, EDMSchedule, FlowMatchingSchedule
from patchmosaic.sampling import sample, seeds
from schedule_cases import EVERY

FAMILIES = {
    "exact": ExactPolynomialDenoiser,
    "separable": SeparablePolynomialDenoiser,
    "random features": RandomFeatureDenoiser,
    "patch": lambda pool, degree, **options: PatchPolynomialDenoiser(pool, degree, 3, **options),
}
every_family = pytest.mark.parametrize("build", FAMILIES.values(), ids=FAMILIES)


def points(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy((rng.uniform(-1, 1, (n, 3)) ** 3 @ rng.uniform(-0.4, 0.4, (3, 3)) + 0.1)[:, :, None, None]).float()


def noisy(n=5):
    return torch.from_numpy(np.random.default_rng(1).standard_normal((n, 3, 1, 1)))


@every_family
@pytest.mark.parametrize("schedule", EVERY, ids=list(SCHEDULES))
def test_degree_1_is_the_wiener_denoiser(build, schedule):
    """Acceptance 9, at 1e-10."""
    denoiser = build(ImageSet(points()), 1, schedule=schedule, limit=1e6)
    for t in (0.02, 0.4, 0.97):
        alpha, sigma = (float(scale) for scale in schedule(t))
        x_t = alpha * points(5).double() + sigma * noisy()
        expected = np.concatenate([oracle.wiener(x[None].numpy(), points().numpy(), alpha, sigma) for x in x_t])
        np.testing.assert_allclose(denoiser(x_t, t), expected, rtol=0, atol=1e-10)


@every_family
def test_what_a_schedule_is_does_not_matter(build):
    """The same noise level in another clock: y = x_t / alpha_t is all that is seen."""
    pool, y = ImageSet(points()), noisy()
    cosine, exploding = CosineSchedule(), EDMSchedule()
    t, alpha = cosine.time_of_snr(4.0), cosine(cosine.time_of_snr(4.0))[0]
    here = build(pool, 3, schedule=cosine)(alpha * y, t)
    there = build(pool, 3, schedule=exploding)(y, exploding.time_of_snr(4.0))
    torch.testing.assert_close(here, there, rtol=1e-8, atol=1e-8)


@every_family
def test_units_do_not_matter(build):
    schedule = EDMSchedule()
    here = build(ImageSet(points()), 3, schedule=schedule)(noisy(), schedule.time_of_snr(4.0))
    # A factor that is a power of two loses nothing in float32.
    there = build(ImageSet(points() / 64), 3, schedule=schedule)(noisy() / 64, schedule.time_of_snr(4.0 * 64**2))
    torch.testing.assert_close(64 * there, here, rtol=1e-7, atol=1e-8)


@every_family
def test_where_nothing_is_seen_it_is_the_mean(build):
    x0_hat = build(ImageSet(points()), 3, schedule=FlowMatchingSchedule())(noisy(), 1.0)
    torch.testing.assert_close(x0_hat, points().double().mean(0).expand_as(x0_hat), rtol=1e-12, atol=1e-12)


@every_family
def test_a_class_is_fitted_on_its_own(build):
    labels = torch.arange(40) % 3
    denoiser = build(ImageSet(points(), labels), 2)
    asked = torch.tensor([2, 0, 2, 1, 0])
    together = denoiser(noisy(), 0.4, asked)
    for i, label in enumerate(asked):
        alone = build(ImageSet(points()[labels == label]), 2, limit=100.0)(noisy()[i : i + 1], 0.4)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-8, atol=1e-9)


@every_family
def test_the_better_degree_is_the_higher(build):
    pool = ImageSet(points())
    x0, t = points().repeat(100, 1, 1, 1), float(EDMSchedule().time_of_snr(25.0))
    x_t = x0 + 0.2 * noisy(4000)
    errors = [float((build(pool, d, schedule=EDMSchedule())(x_t, t) - x0).square().mean()) for d in (1, 3, 5)]
    assert errors == sorted(errors, reverse=True)


@every_family
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_held_inside_the_bound_and_their_samples_told(build, dtype):
    pool = ImageSet(points())
    denoiser = build(pool, 3, schedule=EDMSchedule(), limit=1.5)
    mean, std = float(pool.images.double().mean()), float(pool.images.double().std(correction=0))
    assert denoiser.bound == pytest.approx((mean - 1.5 * std, mean + 1.5 * std), rel=1e-9)
    x_T = 80 * seeds(60, (3, 1, 1)).to(dtype)
    trajectory = sample(denoiser, x_T, 12)
    free = sample(build(pool, 3, schedule=EDMSchedule(), limit=1e3), x_T, 12)
    low, high = denoiser.bound
    outside = (free.x0_hats[:3] < low) | (free.x0_hats[:3] > high)  # the first steps of both run alike until then
    assert float(trajectory.x0_hats.min()) >= low - 1e-6
    assert float(trajectory.x0_hats.max()) <= high + 1e-6
    escaped = denoiser.escaped(trajectory.x0_hats)
    assert 0 < int(escaped.sum()) < 60
    assert bool(escaped[outside.flatten(2).any(2).any(0)].all())
    untouched = ~escaped
    torch.testing.assert_close(trajectory.x0[untouched], free.x0[untouched], rtol=1e-5, atol=1e-5)
    assert bool((denoiser.escaped(trajectory.x0) <= escaped).all())


@every_family
def test_calls_repeat_themselves(build):
    pool = ImageSet(points())
    assert torch.equal(build(pool, 3)(noisy(), 0.3), build(pool, 3)(noisy(), 0.3))
    assert build(pool, 3).describe() == build(pool, 3).describe()
    assert build(pool, 3).describe() != build(pool, 2).describe()
    moved = build(pool, 3)
    before = moved(noisy(), 0.3)
    assert torch.equal(moved.to("cpu")(noisy(), 0.3), before)


@every_family
def test_a_pool_of_one_image_is_returned(build):
    alone = points(1)
    x0_hat = build(ImageSet(alone), 3)(noisy(), 0.5)
    torch.testing.assert_close(x0_hat, alone.double().expand_as(x0_hat), rtol=0, atol=1e-6)


@every_family
def test_what_they_refuse(build):
    with pytest.raises(PatchMosaicError, match="degree of at least 1"):
        build(ImageSet(points()), 0)
    with pytest.raises(ValueRangeError, match="limit"):
        build(ImageSet(points()), 2, limit=0.0)
