"""The oracle against pencil and paper, against theorems, and against a second brute force built on padded images.

Pencil and paper uses sigma² = 1 / (2 ln 3), which makes every weight 3^-D and every answer a fraction.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from patchmosaic.engine import oracle
from patchmosaic.errors import NoiseLevelError, PatchSizeError, ShapeError

SIGMA = 1 / math.sqrt(2 * math.log(3))  # exp(-D / (2 SIGMA²)) = 3^-D
LEVELS = [(0.99, 0.08), (0.8, 0.6), (0.3, 0.95), (0.012, 1.0)]  # (alpha, sigma) from nearly clean to nearly noise


def line(*pixels):
    """One single-channel image of one row."""
    return np.array(pixels, dtype=float).reshape(1, 1, 1, -1)


def case(seed=0, n=5, batch=2, channels=2, height=6, width=5, alpha=0.8, sigma=0.6):
    """A random pool in [-1, 1], and noisy versions of its first images."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (n, channels, height, width))
    x = alpha * images[:batch] + sigma * rng.standard_normal((batch, channels, height, width))
    return x, images, alpha, sigma


def close(left, right, tolerance=1e-12):
    np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance)


# Pencil and paper.


@pytest.mark.parametrize(
    "machine",
    [
        oracle.ideal,
        oracle.equivariant,
        lambda *a: oracle.local(*a, 1),
        lambda *a: oracle.equivariant_local(*a, 1),
        lambda *a: oracle.equivariant_local(*a, 1, "valid"),
        lambda *a: oracle.boundary_broken(*a, 1),
    ],
)
def test_one_pixel_images_make_every_machine_the_same_logistic_function(machine):
    pool = np.array([0.0, 1.0]).reshape(2, 1, 1, 1)
    # x = 1: D = 1 for the 0 and 0 for the 1.
    close(machine(line(1), pool, 1.0, SIGMA), [[[[0.75]]]])
    # alpha = 2 puts the pool at 0 and 2: D = 4 and 0 for x = 2, 2.25 and .25 for x = 1.5.
    close(machine(line(2), pool, 2.0, SIGMA), [[[[81 / 82]]]])
    close(machine(line(1.5), pool, 2.0, SIGMA), [[[[0.9]]]])
    # sigma = .5, D = .25: 1 / (1 + exp(-1/2)).
    close(machine(line(0.5), pool, 0.5, 0.5), [[[[0.6224593312018546]]]])


def test_distances_sum_over_channels():
    pool = np.array([[0.0, 0.0], [1.0, 1.0]]).reshape(2, 2, 1, 1)
    for machine in ("ideal", "equivariant"):
        close(getattr(oracle, machine)(pool[1:], pool, 1.0, SIGMA), [[[[0.9]], [[0.9]]]])
    for machine in ("local", "equivariant_local", "boundary_broken"):
        close(getattr(oracle, machine)(pool[1:], pool, 1.0, SIGMA, 3), [[[[0.9]], [[0.9]]]])


def test_ideal_by_hand():
    pool = np.array([[[[0.0, 0.0], [0.0, 0.0]]], [[[0.0, 1.0], [2.0, 4.0]]]])
    x = np.array([[[[0.0, 0.0], [0.0, 2.125]]]])
    # D = 2.125² and 1 + 4 + 1.875²; their difference is 5 - 1 = 4, so the second image weighs 1/82.
    close(oracle.ideal(x, pool, 1.0, SIGMA), np.array([[[[0.0, 1 / 82], [2 / 82, 4 / 82]]]]))


def test_equivariant_by_hand():
    # Translates of 0 1 2: itself (D = 0), 2 0 1 and 1 2 0 (D = 6 each, weight 1/729).
    close(oracle.equivariant(line(0, 1, 2), line(0, 1, 2), 1.0, SIGMA), line(3 / 731, 1, 1459 / 731))


def test_local_by_hand():
    pool = np.concatenate([line(0, 0, 0), line(1, 1, 1)])
    # Windows of 0 0 1 cut at the ends: (0 0), (0 0 1), (0 1).
    close(oracle.local(line(0, 0, 1), pool, 1.0, SIGMA, 3), line(0.1, 0.25, 0.5))


def test_equivariant_local_by_hand():
    # Training patches 010, 100, 000, 001 with centres 1 0 0 0; the windows of x are 000, 001, 010, 100.
    x0_hat = oracle.equivariant_local(line(0, 0, 1, 0), line(1, 0, 0, 0), 1.0, SIGMA, 3)
    close(x0_hat, line(1 / 6, 1 / 14, 9 / 14, 1 / 14))


def test_equivariant_local_without_wrapping_training_patches_by_hand():
    # Three equal rows treble every distance. Training patches that do not wrap: 010 (centre 1) and 100 (centre 0).
    phi, x = (np.tile(row, (1, 1, 3, 1)) for row in (line(0, 1, 0, 0), line(0, 0, 1, 0)))
    expected = np.tile(line(1 / 2, 1 / 2, 729 / 730, 1 / 730), (1, 1, 3, 1))
    close(oracle.equivariant_local(x, phi, 1.0, SIGMA, 3, training_padding="valid"), expected)


def test_boundary_broken_by_hand():
    # The ends match only themselves; the middle two choose between 010 (centre 1) and 101 (centre 0).
    close(oracle.boundary_broken(line(0, 0, 1, 1), line(0, 1, 0, 1), 1.0, SIGMA, 3), line(0, 0.25, 0.75, 1))


def test_wiener_by_hand():
    # Pool {0, 4}: mean 2, variance 4 (divisor N). Gain .5·4 / (.25·4 + 1) = 1 on x - .5·2 = 2.
    pool = np.array([0.0, 4.0]).reshape(2, 1, 1, 1)
    close(oracle.wiener(line(3), pool, 0.5, 1.0), [[[[4.0]]]])


# What each pixel may match.


def positions(machine, shape, pixel, patch_size=None, **options):
    zeros = np.zeros((1, 1, *shape))
    found = oracle.candidates(machine, zeros, zeros, 1.0, 1.0, *pixel, patch_size, **options)
    return list(zip(found.row.tolist(), found.column.tolist(), strict=True))


@pytest.mark.parametrize(
    ("shape", "patch_size", "pixel", "expected"),
    [
        ((5, 5), 3, (2, 1), [(r, c) for r in (1, 2, 3) for c in (1, 2, 3)]),  # interior
        ((5, 5), 3, (0, 3), [(0, 1), (0, 2), (0, 3)]),  # an edge: along it, short of the corners
        ((5, 5), 3, (2, 4), [(1, 4), (2, 4), (3, 4)]),
        ((5, 5), 3, (4, 0), [(4, 0)]),  # a corner
        ((5, 7), 5, (1, 3), [(1, 2), (1, 3), (1, 4)]),  # one from the edge is still an edge for P = 5
        ((5, 7), 5, (2, 6), [(2, 6)]),
        ((2, 5), 3, (1, 2), [(1, 1), (1, 2), (1, 3)]),  # an axis shorter than the window has no interior
        ((5, 5), 1, (0, 0), [(r, c) for r in range(5) for c in range(5)]),  # P = 1 never meets the border
    ],
)
def test_boundary_broken_matches_the_same_border_layout_only(shape, patch_size, pixel, expected):
    assert positions("boundary_broken", shape, pixel, patch_size) == expected


def test_positions_of_the_other_machines():
    everywhere = [(r, c) for r in range(4) for c in range(5)]
    assert positions("ideal", (4, 5), (3, 0)) == [(3, 0)]
    assert positions("local", (4, 5), (3, 0), 3) == [(3, 0)]
    assert positions("equivariant", (4, 5), (3, 0)) == everywhere
    assert positions("equivariant_local", (4, 5), (3, 0), 3) == everywhere
    valid = positions("equivariant_local", (4, 5), (3, 0), 3, training_padding="valid")
    assert valid == [(r, c) for r in (1, 2) for c in (1, 2, 3)]


@pytest.mark.parametrize(
    ("machine", "patch_size"),
    [("ideal", None), ("equivariant", None), ("local", 3), ("equivariant_local", 5), ("boundary_broken", 3)],
)
def test_candidates_explain_the_machine(machine, patch_size):
    x, images, alpha, sigma = case()
    options = () if patch_size is None else (patch_size,)
    x0_hat = getattr(oracle, machine)(x, images, alpha, sigma, *options)
    for row, column in [(0, 0), (2, 3), (5, 4), (0, 2)]:
        found = oracle.candidates(machine, x, images, alpha, sigma, row, column, patch_size)
        weights = found.posterior_weights
        close(weights.sum(axis=1), 1)
        close(found.values, [images[n, :, r, c] for n, r, c in zip(found.image, found.row, found.column, strict=True)])
        close(weights @ found.values, x0_hat[:, :, row, column])
        close(found.x0_hat, x0_hat[:, :, row, column])
        assert len({*zip(found.image.tolist(), found.row.tolist(), found.column.tolist(), strict=True)}) == len(found.image)


def test_log_weights_are_scaled_distances():
    # x = 0 0 1, phi = 1 1 1 at its own position: D = 2 in the cut window (0 0); -D / (2·.5²) = -4.
    found = oracle.candidates("local", line(0, 0, 1), line(1, 1, 1), 1.0, 0.5, 0, 0, 3)
    close(found.log_weights, [[-4.0]])


# A second brute force: pad the images, take every patch, compare all with all that share a layout.


def patches(images, patch_size, **padding):
    """(N, C, H', W', P, P) patches; `padding` is np.pad's, none where it is empty."""
    r = patch_size // 2
    padded = np.pad(images, ((0, 0), (0, 0), (r, r), (r, r)), **padding) if padding else images
    return sliding_window_view(padded, (patch_size, patch_size), axis=(2, 3))


def by_patches(x, images, alpha, sigma, patch_size, machine):
    wrap = {"mode": "wrap"} if machine in ("circular", "valid") else {"mode": "constant"}
    queries = np.moveaxis(patches(x, patch_size, **wrap), 1, 3)  # (B, H, W, C, P, P)
    keys = np.moveaxis(patches(images, patch_size, **({} if machine == "valid" else wrap)), 1, 3)
    r = patch_size // 2
    centres = keys[..., r, r].reshape(-1, images.shape[1])  # (K, C)
    height, width = x.shape[2:]
    inside = patches(np.ones((1, 1, height, width)), patch_size, mode="constant")[0, 0]  # (H, W, P, P) border layouts
    layouts = np.broadcast_to(inside, (len(images), *inside.shape)).reshape(-1, patch_size, patch_size)
    spots = np.broadcast_to(np.arange(height * width), (len(images), height * width)).reshape(-1)
    x0_hat = np.empty_like(x)
    for b, row, column in np.ndindex(len(x), height, width):
        distances = ((queries[b, row, column] - alpha * keys) ** 2).sum(axis=(-1, -2, -3)).reshape(-1)
        if machine == "boundary_broken":
            distances = np.where((layouts == inside[row, column]).all(axis=(1, 2)), distances, np.inf)
        elif machine == "local":
            distances = np.where(spots == row * width + column, distances, np.inf)
        weights = np.exp(-(distances - distances.min()) / (2 * sigma**2))
        x0_hat[b, :, row, column] = weights @ centres / weights.sum()
    return x0_hat


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("patch_size", [1, 3, 5])
def test_machines_agree_with_padded_patches(level, patch_size):
    x, images, alpha, sigma = case(seed=patch_size, alpha=level[0], sigma=level[1])
    arguments = (x, images, alpha, sigma, patch_size)
    close(oracle.equivariant_local(*arguments), by_patches(*arguments, "circular"), 1e-9)
    close(oracle.equivariant_local(*arguments, "valid"), by_patches(*arguments, "valid"), 1e-9)
    close(oracle.boundary_broken(*arguments), by_patches(*arguments, "boundary_broken"), 1e-9)
    close(oracle.local(*arguments), by_patches(*arguments, "local"), 1e-9)


# Theorems.


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 5), (1, 4)])
def test_windows_that_cover_the_image(level, height, width):
    arguments = case(height=height, width=width, alpha=level[0], sigma=level[1])
    longest = max(height, width)
    covers_from_everywhere = 2 * longest - 1  # from a corner, the radius must reach the far side
    covers = longest + 1 - longest % 2  # odd, at least the side
    close(oracle.local(*arguments, covers_from_everywhere), oracle.ideal(*arguments), 1e-9)
    close(oracle.boundary_broken(*arguments, covers_from_everywhere), oracle.ideal(*arguments), 1e-9)
    for patch_size in (covers, covers + 2):
        close(oracle.boundary_broken(*arguments, patch_size), oracle.local(*arguments, patch_size), 1e-9)
    for patch_size in (covers, covers + 2, 4 * longest + 1):
        close(oracle.equivariant_local(*arguments, patch_size), oracle.equivariant(*arguments), 1e-9)


@settings(max_examples=15, deadline=None)
@given(down=st.integers(-6, 6), right=st.integers(-6, 6), seed=st.integers(0, 99), patch_size=st.sampled_from([1, 3, 7]))
def test_translation_equivariance(down, right, seed, patch_size):
    x, images, alpha, sigma = case(seed=seed, n=3, batch=1, height=4, width=5)
    rolled = np.roll(x, (down, right), axis=(2, 3))

    def check(machine, *options):
        expected = np.roll(machine(x, images, alpha, sigma, *options), (down, right), axis=(2, 3))
        close(machine(rolled, images, alpha, sigma, *options), expected, 1e-9)

    check(oracle.equivariant)
    check(oracle.equivariant_local, patch_size)
    if patch_size <= 4:
        check(oracle.equivariant_local, patch_size, "valid")


def test_local_machine_is_not_equivariant():
    x, images, alpha, sigma = case()
    moved = oracle.local(np.roll(x, 1, axis=3), images, alpha, sigma, 3)
    assert np.abs(moved - np.roll(oracle.local(x, images, alpha, sigma, 3), 1, axis=3)).max() > 0.01


def test_boundless_noise_returns_the_mean_of_the_candidates():
    x, images, alpha, _ = case(sigma=1.0)
    sigma = 1e8
    mean = np.broadcast_to(images.mean(axis=0), x.shape)
    overall = np.broadcast_to(images.mean(axis=(0, 2, 3))[:, None, None], x.shape)
    close(oracle.ideal(x, images, alpha, sigma), mean)
    close(oracle.local(x, images, alpha, sigma, 3), mean)
    close(oracle.wiener(x, images, alpha, sigma), mean)
    close(oracle.equivariant(x, images, alpha, sigma), overall)
    close(oracle.equivariant_local(x, images, alpha, sigma, 3), overall)
    inner = images[:, :, 1:-1, 1:-1].mean(axis=(0, 2, 3))[:, None, None]
    close(oracle.equivariant_local(x, images, alpha, sigma, 3, "valid"), np.broadcast_to(inner, x.shape))

    by_layout = mean.copy()
    by_layout[:, :, 1:-1, 1:-1] = inner
    for edge in (np.s_[:, :, 0, 1:-1], np.s_[:, :, -1, 1:-1], np.s_[:, :, 1:-1, 0], np.s_[:, :, 1:-1, -1]):
        by_layout[edge] = images[edge].mean(axis=(0, 2))[:, None]
    close(oracle.boundary_broken(x, images, alpha, sigma, 3), by_layout)


def test_no_noise_returns_the_centre_of_the_nearest_patch():
    x, images, _, _ = case(seed=3, channels=1)
    queries, keys = (patches(each, 3, mode="wrap")[:, 0].reshape(-1, 9) for each in (x, images))
    nearest = [min(range(len(keys)), key=lambda k: float(((query - keys[k]) ** 2).sum())) for query in queries]
    expected = keys[nearest, 4].reshape(x.shape)
    close(oracle.equivariant_local(x, images, 1.0, 1e-4, 3), expected)
    # Exponents of -1e11 and beyond: still finite, still the nearest.
    close(oracle.equivariant_local(x, images, 1.0, 1e-6, 3), expected)


def test_black_and_white_become_the_majority_of_the_periodic_neighbourhood():
    pool = np.stack([np.full((1, 5, 6), -1.0), np.full((1, 5, 6), 1.0)])
    x = np.random.default_rng(0).choice([-1.0, 1.0], (3, 1, 5, 6))
    votes = sum(np.roll(x, (down, right), axis=(2, 3)) for down in (-1, 0, 1) for right in (-1, 0, 1))
    assert {-1.0, 1.0} == {*np.sign(votes).ravel()}
    close(oracle.equivariant_local(x, pool, 1.0, 0.05, 3), np.sign(votes))


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_patches_of_one_pixel_denoise_each_pixel_with_the_pooled_pixels(alpha, sigma, channels):
    x, images, *_ = case(channels=channels, alpha=alpha, sigma=sigma)
    colours = [images[n, :, r, c] for n, r, c in np.ndindex(len(images), 6, 5)]
    expected = np.empty_like(x)
    for b, r, c in np.ndindex(len(x), 6, 5):
        weights = [math.exp(-sum((x[b, :, r, c] - alpha * colour) ** 2) / (2 * sigma**2)) for colour in colours]
        expected[b, :, r, c] = sum(w * colour for w, colour in zip(weights, colours, strict=True)) / sum(weights)
    close(oracle.equivariant_local(x, images, alpha, sigma, 1), expected, 1e-9)
    close(oracle.equivariant_local(x, images, alpha, sigma, 1, "valid"), expected, 1e-9)
    close(oracle.boundary_broken(x, images, alpha, sigma, 1), expected, 1e-9)


def test_a_pool_of_one_image_returns_it():
    x, images, alpha, sigma = case(n=1, batch=1)
    noise = np.concatenate([x, -3 * x])
    expected = np.concatenate([images, images])
    close(oracle.ideal(noise, images, alpha, sigma), expected)
    close(oracle.local(noise, images, alpha, sigma, 3), expected)
    close(oracle.wiener(noise, images, alpha, sigma), expected)


@pytest.mark.parametrize("machine", ["ideal", "equivariant", "wiener", "local", "equivariant_local", "boundary_broken"])
def test_neither_batch_nor_order_nor_repetition_nor_precision_of_the_pool_matters(machine):
    x, images, alpha, sigma = case()
    x, images = x.astype(np.float32), images.astype(np.float32)
    options = (3,) if machine in ("local", "equivariant_local", "boundary_broken") else ()

    def denoise(x, images):
        return getattr(oracle, machine)(x, images, alpha, sigma, *options)

    together = denoise(x, images)
    assert together.dtype == np.float64
    assert together.shape == x.shape
    close(together, np.concatenate([denoise(one[None], images) for one in x]))
    close(together, denoise(x, images[::-1]))
    close(together, denoise(x, np.concatenate([images, images])))
    close(together, denoise(x.astype(np.float64), images.astype(np.float64)))


def test_wiener_shrinks_each_principal_mode_on_its_own():
    # Images mu ± a_k e_k along orthonormal modes e_k: variance a_k² / (number of modes) in mode k.
    rng = np.random.default_rng(0)
    shape, alpha, sigma = (2, 2, 3), 0.7, 0.4
    modes, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    a, mu, x = rng.uniform(0, 3, 12), rng.standard_normal(12), rng.standard_normal(12)
    pool = np.concatenate([mu + (a * modes).T, mu - (a * modes).T])
    expected = mu.copy()
    for k in range(12):
        variance = a[k] ** 2 / 12
        gain = alpha * variance / (alpha**2 * variance + sigma**2)
        expected += gain * ((x - alpha * mu) @ modes[:, k]) * modes[:, k]
    x0_hat = oracle.wiener(x.reshape(1, *shape), pool.reshape(24, *shape), alpha, sigma)
    close(x0_hat, expected.reshape(1, *shape), 1e-10)


# Bad input.


@pytest.mark.parametrize("patch_size", [-1, 0, 2, 4])
@pytest.mark.parametrize("machine", [oracle.local, oracle.equivariant_local, oracle.boundary_broken])
def test_patch_sizes_must_be_odd_and_positive(machine, patch_size):
    with pytest.raises(PatchSizeError, match=f"odd and at least 1, got {patch_size}"):
        machine(*case(), patch_size)


def test_valid_training_patches_must_exist():
    arguments = case(height=6, width=5)
    oracle.equivariant_local(*arguments, 5, "valid")
    with pytest.raises(PatchSizeError, match=r"at most 5 for 6x5 images.*got 7"):
        oracle.equivariant_local(*arguments, 7, "valid")
    with pytest.raises(PatchSizeError, match=r"at most 3 for 4x5 images.*got 5"):
        oracle.equivariant_local(*case(height=4, width=5), 5, "valid")


def test_patch_size_belongs_to_the_machines_that_have_one():
    with pytest.raises(PatchSizeError, match="takes no patch_size"):
        oracle.candidates("ideal", *case(), 0, 0, 3)
    with pytest.raises(PatchSizeError, match="got None"):
        oracle.candidates("local", *case(), 0, 0)


def test_shapes_and_scales_are_checked():
    x, images, alpha, sigma = case()
    for bad_x, bad_images in [(x[0], images), (x[..., 1:], images), (x[:, :1], images), (x, images[:0])]:
        with pytest.raises(ShapeError):
            oracle.ideal(bad_x, bad_images, alpha, sigma)
    with pytest.raises(ShapeError, match="no such pixel"):
        oracle.candidates("ideal", x, images, alpha, sigma, 6, 0)
    for bad_alpha, bad_sigma in [(alpha, 0.0), (alpha, -1.0), (alpha, math.inf), (math.nan, sigma), (alpha, math.nan)]:
        with pytest.raises(NoiseLevelError):
            oracle.wiener(x, images, bad_alpha, bad_sigma)
