"""Every relative against brute force, and what must not matter to any of them."""

import json

import numpy as np
import pytest
import torch
from relative_cases import kernel_density, linear_encoder, nearest, patch_composite, pca_locality, soft_window

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.bottleneck import LinearEncoderDenoiser
from patchmosaic.denoisers.relatives import (
    KernelDensityDenoiser,
    NearestDenoiser,
    PatchCompositeDenoiser,
    PCALocalityDenoiser,
    SoftWindowDenoiser,
)
from patchmosaic.errors import MemoryBudgetError
from patchmosaic.noise import CosineSchedule, EDMSchedule, FlowMatchingSchedule

COSINE = CosineSchedule()
TIMES = torch.tensor([0.02, 0.1, 0.3, 0.6, 0.95], dtype=torch.float64)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
ENCODER = np.random.default_rng(5).standard_normal((2 * 6 * 5, 3))
WINDOWS = {size: np.random.default_rng(size).uniform(0, 2, (size, size)) for size in (3, 5, 11)}
WINDOWS[3][0, 1] = WINDOWS[5][2, 2] = 0  # not even a pixel's own colour has to count


def soft(size, rule):
    return (
        lambda pool, **options: SoftWindowDenoiser(pool, torch.from_numpy(WINDOWS[size]), rule, **options),
        lambda *question: soft_window(*question, WINDOWS[size], rule),
    )


RELATIVES = {
    "kernel density": (
        lambda pool, **options: KernelDensityDenoiser(pool, 0.3, **options),
        lambda *question: kernel_density(*question, 0.3),
    ),
    "nearest": (NearestDenoiser, nearest),
    "linear encoder": (
        lambda pool, **options: LinearEncoderDenoiser(pool, torch.from_numpy(ENCODER), **options),
        lambda *question: linear_encoder(*question, ENCODER),
    ),
    "composite 1": (lambda pool, **options: PatchCompositeDenoiser(pool, 1, **options), lambda *q: patch_composite(*q, 1)),
    "composite 3": (lambda pool, **options: PatchCompositeDenoiser(pool, 3, **options), lambda *q: patch_composite(*q, 3)),
    "composite 7": (lambda pool, **options: PatchCompositeDenoiser(pool, 7, **options), lambda *q: patch_composite(*q, 7)),
    "pca locality": (
        lambda pool, **options: PCALocalityDenoiser(pool, 0.2, **options),
        lambda *question: pca_locality(*question, 0.2),
    ),
    "soft LS": soft(3, "same position"),
    "soft LS, covering": soft(11, "same position"),
    "soft bbELS": soft(3, "same border"),
    "soft bbELS, covering": soft(11, "same border"),
    "soft ELS": soft(5, "anywhere"),
    "soft ELS, valid": soft(3, "anywhere inside"),
}
every_relative = pytest.mark.parametrize("relative", RELATIVES)


def images(seed=0, n=5):
    """Smooth images with texture, in [-1, 1]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:6, :5]
    waves = np.cos(rows * rng.uniform(0.2, 1.5, (n, 2, 1, 1)) + columns * rng.uniform(0.2, 1.5, (n, 2, 1, 1)))
    return torch.from_numpy(0.6 * waves + 0.4 * rng.uniform(-1, 1, (n, 2, 6, 5))).float()


def noisy(x0, schedule, t, seed=0, dtype=torch.float64):
    alpha, sigma = (scale[:, None, None, None] for scale in schedule(t))
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(x0.shape)))
    return (alpha * x0.double() + sigma * noise).to(dtype)


def truth(relative, x_t, pool, schedule, t):
    scales = zip(*(scale.tolist() for scale in schedule(t)), strict=True)
    pool = pool.double().numpy()
    return np.stack([RELATIVES[relative][1](x.double().numpy(), pool, *scale) for x, scale in zip(x_t, scales, strict=True)])


def relative_errors(result, expected):
    difference = (np.asarray(result.double()) - expected).reshape(len(expected), -1)
    return np.linalg.norm(difference, axis=1) / np.linalg.norm(expected.reshape(len(expected), -1), axis=1)


@every_relative
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("schedule", [COSINE, EDMSchedule(sigma_max=5.0)], ids=["cosine", "EDM"])
def test_against_brute_force_at_every_noise_level(relative, schedule, dtype):
    pool = images()
    x_t = noisy(torch.cat([pool[:3], images(9, 2)]), schedule, TIMES, dtype=dtype)
    result = RELATIVES[relative][0](ImageSet(pool), schedule=schedule)(x_t, TIMES)
    assert result.dtype == dtype
    assert relative_errors(result, truth(relative, x_t, pool, schedule, TIMES)).max() < TOLERANCE[dtype]


@every_relative
def test_a_schedule_is_only_a_clock(relative):
    """Variance preserving is variance exploding in y = x / alpha at the noise level sigma / alpha."""
    pool, exploding = ImageSet(images()), EDMSchedule()
    alpha, _ = COSINE(TIMES)
    x_t = noisy(images(9, 5), COSINE, TIMES)
    preserved = RELATIVES[relative][0](pool, schedule=COSINE)(x_t, TIMES)
    exploded = RELATIVES[relative][0](pool, schedule=exploding)(
        x_t / alpha[:, None, None, None], exploding.time_of_snr(COSINE.snr(TIMES))
    )
    torch.testing.assert_close(exploded, preserved, rtol=0, atol=1e-8)


@every_relative
def test_where_nothing_is_seen_the_answer_is_the_mean_of_what_may_be_matched(relative):
    pool = images(n=4)
    result = RELATIVES[relative][0](ImageSet(pool), schedule=FlowMatchingSchedule())(torch.randn(1, 2, 6, 5).double(), 1.0)[0]
    mean = pool.double().mean(0)
    if relative == "soft ELS":
        mean = mean.mean((1, 2), keepdim=True).expand_as(mean)
    if relative == "soft ELS, valid":
        mean = mean[:, 1:-1, 1:-1].mean((1, 2), keepdim=True).expand_as(mean)
    if relative == "soft bbELS":
        result, mean = result[:, 1:-1, 1:-1], mean[:, 1:-1, 1:-1].mean((1, 2), keepdim=True).expand(2, 4, 3)
    torch.testing.assert_close(result, mean, rtol=0, atol=1e-7)


@every_relative
def test_labels_restrict_the_pool(relative):
    labels = torch.tensor([3, 7, 7, 3, 7])
    pool, asked = ImageSet(images(), labels), torch.tensor([7, 3, 3, 7, 7])
    x_t = noisy(images(9, 5), COSINE, TIMES)
    build = RELATIVES[relative][0]
    result = build(pool)(x_t, TIMES, asked)
    for label in (3, 7):
        mine = asked == label
        if relative == "pca locality":  # its windows are those of the whole pool
            inside = images()[labels == label].double().reshape(-1, 60).numpy()
            windows = build(pool).windows(float(COSINE.snr(TIMES[mine][0]))).numpy()
            alpha, sigma = (float(scale) for scale in COSINE(TIMES[mine][0]))
            gaps = (x_t[mine][0].reshape(60).numpy() - alpha * inside) ** 2
            log_weights = -gaps @ windows.T / (2 * sigma**2)  # (n, D)
            weights = np.exp(log_weights - log_weights.max(0))
            expected = (weights * inside).sum(0) / weights.sum(0)
            np.testing.assert_allclose(result[mine][0].reshape(60), expected, atol=1e-10)
        else:
            alone = build(ImageSet(images()[labels == label]))(x_t[mine], TIMES[mine])
            torch.testing.assert_close(result[mine], alone, rtol=0, atol=1e-10)


@every_relative
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_neither_batch_nor_blocks_matter(relative, dtype):
    """Acceptance 21: one by one, two by two, in another order, with a pool in another order and in blocks of one image."""
    pool = ImageSet(images(n=9))
    times = torch.tensor([0.05, 0.4, 0.05, 0.9, 0.2], dtype=torch.float64)
    x_t = noisy(images(9, 5), COSINE, times, dtype=dtype)
    build = RELATIVES[relative][0]
    together = build(pool)(x_t, times)

    def differ(result, expected=together):
        return relative_errors(result, expected.double().numpy()).max()

    for size in (1, 2):
        parts = [build(pool)(x_t[i : i + size], times[i : i + size]) for i in range(0, 5, size)]
        assert differ(torch.cat(parts)) < TOLERANCE[dtype]
    order = torch.tensor([3, 1, 4, 0, 2])
    assert differ(build(pool)(x_t[order], times[order]), together[order]) < TOLERANCE[dtype]
    shuffled = ImageSet(pool.images[torch.tensor([4, 2, 8, 0, 6, 1, 7, 3, 5])])
    assert differ(build(shuffled)(x_t, times)) < TOLERANCE[dtype]
    with pytest.raises(MemoryBudgetError) as caught:
        build(pool, memory_budget=1)(x_t, times)
    least = int(str(caught.value).split("at least ")[1].split(" bytes")[0].replace(",", ""))
    assert differ(build(pool, memory_budget=least)(x_t, times)) < TOLERANCE[dtype]


@every_relative
def test_descriptions_are_json_and_tell_relatives_apart(relative):
    pool = ImageSet(images())
    descriptions = {name: json.dumps(build(pool).describe()) for name, (build, _) in RELATIVES.items()}
    assert [name for name, text in descriptions.items() if text == descriptions[relative]] == [relative]
    assert json.dumps(RELATIVES[relative][0](pool).describe()) == descriptions[relative]
