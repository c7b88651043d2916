"""The native kernel against the float64 brute force, with every instruction set that this processor has."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from patchmosaic.engine import oracle
from patchmosaic.engine.matching import admitted_pairs
from patchmosaic.engine.memory import as_numbers
from patchmosaic.engine.native import instructions as choosing
from patchmosaic.engine.native.instructions import instruction_set, instruction_sets
from patchmosaic.engine.native.posteriors import (
    native_posteriors,
    read_off,
    sliding_error,
)
from patchmosaic.errors import PatchMosaicError

needs_kernel = pytest.mark.skipif(not instruction_sets(), reason="the native kernel was not built: no C++ compiler here")

ORACLES = {
    "same position": oracle.local,
    "same border": oracle.boundary_broken,
    "anywhere": oracle.equivariant_local,
    "anywhere inside": lambda *arguments: oracle.equivariant_local(*arguments, training_padding="valid"),
}


def case(seed):
    """Random sizes, none a multiple of a vector's length more often than not; 8-bit images, with duplicates and an index."""
    rng = np.random.default_rng(seed)
    channels, height, width = int(rng.choice([1, 2, 3])), int(rng.integers(2, 12)), int(rng.choice([2, 5, 8, 19]))
    count, batch = int(rng.choice([1, 2, 5])), int(rng.integers(1, 3))
    stored = torch.from_numpy(rng.integers(0, 256, (count, channels, height, width), dtype=np.uint8))
    if seed % 3 == 0:
        stored = stored[torch.arange(count).repeat(2)]  # every image twice
    index = torch.from_numpy(rng.permutation(len(stored))[: max(1, len(stored) - 1)]) if seed % 2 else None
    y = torch.from_numpy(rng.standard_normal((batch, channels, height, width)))
    sigma = 10.0 ** rng.uniform(-3 if seed % 4 == 0 else -1, 1)
    return stored, index, y, sigma, int(rng.choice([1, 3, 5, 7, 9, 13, 25]))


def truth(rule, y, stored, index, sigma, patch_size):
    images = stored.numpy().astype(np.float32) / np.float32(127.5) - np.float32(1)
    chosen = images if index is None else images[index.numpy()]
    return ORACLES[rule](y.numpy(), chosen.astype(np.float64), 1.0, sigma, patch_size)


def values(state):
    """The mean, without the squares."""
    return state.mean()[:, :-1].numpy()


def relative_error(state, expected):
    return float(np.linalg.norm(values(state) - expected) / np.linalg.norm(expected))


@needs_kernel
@pytest.mark.parametrize("instructions", instruction_sets())
@pytest.mark.parametrize("rule", ORACLES)
@pytest.mark.parametrize("seed", range(8))
def test_every_rule_matches_the_brute_force(instructions, rule, seed):
    stored, index, y, sigma, patch_size = case(seed)
    if rule == "anywhere inside" and patch_size > min(y.shape[-2:]):
        patch_size = 1
    expected = truth(rule, y, stored, index, sigma, patch_size)
    gamma = torch.full((len(y),), sigma**-2, dtype=torch.float64)
    (state,) = native_posteriors(y, gamma, stored, index, rule, (patch_size,), instructions)
    assert relative_error(state, expected) < 1e-9
    floats = stored.float() / 127.5 - 1
    (state,) = native_posteriors(y, gamma, floats, index, rule, (patch_size,), instructions)
    assert relative_error(state, expected) < 1e-9


@needs_kernel
@pytest.mark.parametrize("rule", ORACLES)
def test_float32_is_as_right_as_its_rounding_allows(rule):
    """At moderate noise, where log-weights are small, without the float64 that `precision` would add."""
    rng = np.random.default_rng(3)
    stored = torch.from_numpy(rng.integers(0, 256, (30, 3, 17, 18), dtype=np.uint8))
    y = torch.from_numpy(rng.standard_normal((2, 3, 17, 18)))
    gamma = torch.tensor([0.5, 2.0], dtype=torch.float64)
    (state,) = native_posteriors(y.float(), gamma, stored, None, rule, (5,), instruction_sets()[0])
    for sample in range(2):
        expected = truth(rule, y[sample : sample + 1], stored, None, float(gamma[sample]) ** -0.5, 5)
        error = np.linalg.norm(values(state)[sample] - expected[0]) / np.linalg.norm(expected)
        assert error < 5e-6


LOW_NOISE = 400.0  # a precision at which sums that slide would be too far off


def smooth(count, shape, seed):
    """Images with large flat parts, like drawings: many patches are all but equal, and some are equal."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (count, shape[0], 5, 5)) * 127
    return torch.from_numpy(
        np.kron(coarse, np.ones((1, 1, 4, 4), dtype=np.int64))[..., : shape[1], : shape[2]].astype(np.uint8)
    )


@needs_kernel
@pytest.mark.parametrize("rule", ORACLES)
@pytest.mark.parametrize("patch_size", [3, 9])
@pytest.mark.parametrize("pool", ["noise", "flat"])
def test_at_low_noise_distances_that_count_are_computed_anew(rule, patch_size, pool):
    """Float32 alone, without the float64 that `precision` would add; t of about 0.03."""
    shape = (1, 9, 11)
    rng = np.random.default_rng(patch_size)
    random = torch.from_numpy(rng.integers(0, 256, (18, *shape), dtype=np.uint8))
    stored = random if pool == "noise" else smooth(18, shape, patch_size)
    y = as_numbers(stored[:1], torch.float64) + torch.from_numpy(rng.standard_normal((1, *shape))) * LOW_NOISE**-0.5
    y = y.float().double()
    gamma = torch.full((1,), LOW_NOISE, dtype=torch.float64)
    assert bool((sliding_error(y.float(), gamma, patch_size) > 1e-4).all())  # such sums alone would not do
    (state,) = native_posteriors(y.float(), gamma, stored, None, rule, (patch_size,), instruction_sets()[0])
    expected = truth(rule, y, stored, None, LOW_NOISE**-0.5, patch_size)
    assert relative_error(state, expected) < 2e-6


@needs_kernel
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 15), (3, 5, 16), (2, 7, 17), (3, 4, 32), (1, 9, 33)])
@pytest.mark.parametrize("patch_size", [1, 3, 9, 15, 45])
def test_places_in_float32(shape, patch_size):
    """Rows of less, as much and more than a vector, windows larger than the image, more images than float32 adds up."""
    rng = np.random.default_rng(patch_size + shape[2])
    stored = torch.from_numpy(rng.integers(0, 200, (70, *shape), dtype=np.uint8))
    backwards = torch.arange(69, -1, -1)
    y, gamma = torch.from_numpy(rng.standard_normal((2, *shape))).float(), torch.full((2,), 0.1, dtype=torch.float64)
    expected = truth("same position", y, stored, backwards, 0.1**-0.5, patch_size)
    for instructions in instruction_sets():
        for images in (stored, stored / 127.5 - 1):
            (state,) = native_posteriors(y, gamma, images, backwards, "same position", (patch_size,), instructions)
            assert relative_error(state, expected) < 3e-6


@needs_kernel
def test_many_images_lose_no_digits():
    """Equal weights are rounded alike: 40,000 of them, all added in float32, would be off by more than 1e-4."""
    pair = torch.tensor([[30, 80, 200], [90, 210, 70]], dtype=torch.uint8)[:, None, None]
    y, gamma = torch.tensor([0.1, -0.3, 0.2])[None, None, None], torch.full((1,), 0.3, dtype=torch.float64)
    (state,) = native_posteriors(y, gamma, pair.repeat(20_000, 1, 1, 1), None, "same position", (3,), instruction_sets()[0])
    assert relative_error(state, truth("same position", y, pair, None, 0.3**-0.5, 3)) < 2e-6


@needs_kernel
def test_equal_images_average_to_themselves():
    """At the lowest noise too, where log-weights are large: distances that are equal are computed equal."""
    rng = np.random.default_rng(0)
    stored = torch.from_numpy(rng.integers(0, 256, (1, 3, 9, 21), dtype=np.uint8))
    y = torch.from_numpy(rng.standard_normal((1, 3, 9, 21))).float()
    gamma = torch.full((1,), 1e6, dtype=torch.float64)
    (state,) = native_posteriors(y, gamma, stored.repeat(150, 1, 1, 1), None, "same position", (5,), instruction_sets()[0])
    torch.testing.assert_close(state.s, torch.full_like(state.s, 150), rtol=1e-6, atol=0)
    assert relative_error(state, as_numbers(stored, torch.float64).numpy()) < 1e-6


@needs_kernel
@pytest.mark.parametrize("patch_size", [3, 9, 17])
def test_where_nothing_cancels_the_estimate_is_the_error(patch_size):
    """Over two decades of noise, down to where float32 fails: not less than the error, but for the sums' own, nor far more."""
    shape, ratios = (3, 17, 19), []
    rng = np.random.default_rng(patch_size)
    stored = torch.from_numpy(rng.integers(20, 76, (40, *shape), dtype=np.uint8))  # alike enough to compete
    for sigma in (0.01, 0.03, 0.1, 0.3, 1.0):
        y = as_numbers(stored[:2], torch.float64) + sigma * torch.from_numpy(rng.standard_normal((2, *shape)))
        gamma = torch.full((2,), sigma**-2, dtype=torch.float64)
        (state,) = native_posteriors(y.float(), gamma, stored, None, "same position", (patch_size,), instruction_sets()[0])
        (exact,) = native_posteriors(y, gamma, stored, None, "same position", (patch_size,), instruction_sets()[0])
        answer, estimate = read_off(state, y.float(), gamma, patch_size, "same position")
        expected = exact.mean()[:, :-1]
        error = (answer.mean() - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
        assert bool((error < 1.5 * estimate + 1e-6).all())
        ratios.append(error / estimate.clamp_min(1e-6))
    assert float(torch.stack(ratios).max()) > 0.05


@needs_kernel
def test_the_sum_of_squares_tells_how_widely_values_differ():
    """Against the oracle's weights, at one pixel."""
    stored, _, y, _, _ = case(3)
    gamma = torch.full((len(y),), 2.0, dtype=torch.float64)
    images = as_numbers(stored, torch.float64).numpy()
    for rule, name in [("anywhere", "equivariant_local"), ("same position", "local")]:
        found = oracle.candidates(name, y.numpy()[:1], images, 1.0, 2.0**-0.5, 1, 1, 3)
        weights = np.exp(found.log_weights[0] - found.log_weights[0].max())
        expected = (weights * (found.values**2).sum(1)).sum() / weights.sum()
        for dtype, tolerance in [(torch.float64, 1e-10), (torch.float32, 1e-5)]:
            (state,) = native_posteriors(y.to(dtype), gamma, stored, None, rule, (3,), instruction_sets()[0])
            assert float(state.mean()[0, -1, 1, 1]) == pytest.approx(expected, rel=tolerance)


@needs_kernel
@pytest.mark.parametrize("rule", ["same border", "same position"])
def test_sums_do_not_depend_on_threads_or_on_how_the_images_are_cut(rule):
    stored, _, y, sigma, _ = case(1)
    stored = stored.repeat(9, 1, 1, 1)
    gamma = torch.full((len(y),), sigma**-2, dtype=torch.float64)
    rows = torch.arange(len(stored))
    (whole,) = native_posteriors(y, gamma, stored, None, rule, (3,), instruction_sets()[0])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        (threaded,) = native_posteriors(y, gamma, stored, None, rule, (3,), instruction_sets()[0])
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(threaded.mean(), whole.mean(), rtol=1e-12, atol=1e-12)
    (first,) = native_posteriors(y, gamma, stored, rows[:4], rule, (3,), instruction_sets()[0])
    (rest,) = native_posteriors(y, gamma, stored, rows[4:], rule, (3,), instruction_sets()[0])
    torch.testing.assert_close(first.merge_(rest).mean(), whole.mean(), rtol=1e-12, atol=1e-12)


@needs_kernel
@pytest.mark.parametrize("rule", ORACLES)
def test_the_same_call_gives_the_same_bits(rule):
    stored = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (37, 1, 9, 11), dtype=np.uint8))
    y, gamma = torch.randn(2, 1, 9, 11, generator=torch.Generator().manual_seed(5)), torch.full((2,), 3.0, dtype=torch.float64)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        first, *others = (native_posteriors(y, gamma, stored, None, rule, (5,), instruction_sets()[0])[0] for _ in range(8))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first.v, other.v) and torch.equal(first.s, other.s) for other in others)


@pytest.mark.parametrize("shape", [(6, 7), (5, 5), (2, 9)])
@pytest.mark.parametrize("patch_size", [1, 3, 5])
def test_no_pixel_has_more_candidates_than_the_threshold_counts(shape, patch_size):
    rules = {"same position": "local", "same border": "boundary_broken", "anywhere": "equivariant_local"}
    blank = np.zeros((1, 1, *shape))
    for rule, name in rules.items():
        pixels = [(row, column) for row in range(shape[0]) for column in range(shape[1])]
        most = max(len(oracle.candidates(name, blank, blank, 1.0, 1.0, *pixel, patch_size).image) for pixel in pixels)
        assert admitted_pairs(rule, shape, patch_size) >= most


def test_the_environment_chooses_the_instruction_set(monkeypatch):
    monkeypatch.setenv("PATCHMOSAIC_NATIVE", "0")
    assert instruction_set() is None
    monkeypatch.setenv("PATCHMOSAIC_NATIVE", "abacus")
    with pytest.raises(PatchMosaicError, match=r"PATCHMOSAIC_NATIVE .* got 'abacus'"):
        instruction_set()


def test_where_the_kernel_was_not_built_one_warning_says_so(monkeypatch):
    monkeypatch.setattr(choosing, "kernel", None)
    monkeypatch.delenv("PATCHMOSAIC_NATIVE", raising=False)
    choosing._say_once.cache_clear()
    with pytest.warns(RuntimeWarning, match="not built"):
        assert instruction_set() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert instruction_set() is None


@needs_kernel
def test_without_the_kernel_the_answer_is_the_same():
    program = (
        "import torch, patchmosaic as pm\n"
        "pool = pm.ImageSet(pm.seeds(5, (1, 6, 7), seed=1).clamp(-1, 1))\n"
        "print(pm.BoundaryBrokenDenoiser(pool, 3)(pm.seeds(1, (1, 6, 7)), 0.3).double().sum().item())\n"
    )

    def answer(choice):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PATCHMOSAIC_NATIVE": choice},
            capture_output=True,
            text=True,
            check=True,
        )
        return float(run.stdout)

    assert answer("0") == pytest.approx(answer(instruction_sets()[0]), abs=1e-5)
