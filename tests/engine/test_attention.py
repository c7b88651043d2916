"""Attention over patches against the float64 brute force, and its estimate of its own rounding against the rounding."""

import numpy as np
import pytest
import torch

from patchmosaic.engine import oracle
from patchmosaic.engine.attention import attends, attention_footprint, attention_posteriors, read_off_products
from patchmosaic.engine.belief import TracedSum
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.engine.patches import patch_posteriors
from patchmosaic.engine.precision import TOLERANCE
from patchmosaic.errors import MemoryBudgetError

RULES = {"anywhere": "circular", "anywhere inside": "valid"}


def case(seed):
    """Random sizes; 8-bit images, with duplicates and an index; noise down to 1e-3."""
    rng = np.random.default_rng(seed)
    channels, height, width = int(rng.choice([1, 2, 3])), int(rng.integers(3, 12)), int(rng.choice([3, 5, 8, 13]))
    stored = torch.from_numpy(rng.integers(0, 256, (int(rng.choice([1, 2, 5, 19])), channels, height, width), dtype=np.uint8))
    if seed % 3 == 0:
        stored = stored.repeat(2, 1, 1, 1)
    index = torch.from_numpy(rng.permutation(len(stored))[: max(1, len(stored) - 1)]) if seed % 2 else None
    sigma = 10.0 ** rng.uniform(-3 if seed % 4 == 0 else -1, 1)
    y = rng.standard_normal((2, channels, height, width)) * sigma + as_pixels(stored[:1])
    patch_size = int(rng.choice([size for size in (1, 3, 5, 7, 9, 11) if size <= min(height, width)]))
    return torch.from_numpy(y), torch.full((2,), sigma**-2, dtype=torch.float64), stored, index, patch_size


def as_pixels(stored):
    return (stored.numpy().astype(np.float32) / np.float32(127.5) - np.float32(1)).astype(np.float64)


def truth(y, precision, stored, index, rule, patch_size):
    images = as_pixels(stored if index is None else stored[index])
    return oracle.equivariant_local(y.numpy(), images, 1.0, float(precision[0]) ** -0.5, patch_size, RULES[rule])


def relative_error(mean, expected):
    return float(np.linalg.norm(mean.numpy() - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(12))
def test_float64_matches_the_brute_force(rule, seed):
    y, precision, stored, index, patch_size = case(seed)
    (state,) = attention_posteriors(y, precision, stored, index, rule, (patch_size,), DEFAULT_BUDGET)
    assert relative_error(state.mean()[:, :-1], truth(y, precision, stored, index, rule, patch_size)) < 1e-9


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(12))
def test_without_the_kernel_float32_is_as_right_as_promised(rule, seed, monkeypatch):
    monkeypatch.setenv("PATCHMOSAIC_NATIVE", "0")
    y, precision, stored, index, patch_size = case(seed)
    sizes = tuple({1, patch_size})
    states = patch_posteriors(y, precision, stored, index, rule, sizes, torch.float32, DEFAULT_BUDGET)
    for size, state in zip(sizes, states, strict=True):
        assert relative_error(state.mean(), truth(y, precision, stored, index, rule, size)) < 1e-5


def test_the_largest_log_weight_is_that_of_the_nearest_patch():
    y, precision, stored, _, patch_size = case(7)
    (state,) = attention_posteriors(y, precision, stored, None, "anywhere", (patch_size,), DEFAULT_BUDGET)
    at = (1, 2)
    found = oracle.candidates(
        "equivariant_local", y.numpy(), as_pixels(stored), 1.0, float(precision[0]) ** -0.5, *at, patch_size
    ).log_weights
    assert state.m[:, *at].numpy() == pytest.approx(found.max(1), rel=1e-9)
    assert state.s[:, *at].numpy() == pytest.approx(np.exp(found - found.max(1, keepdims=True)).sum(1), rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sigma", [2.0, 0.3, 0.05, 0.01, 0.003])
def test_rounding_is_estimated(seed, sigma):
    """Images differ by less than the noise, so that several patches of a place compete whatever the noise."""
    rng = np.random.default_rng(seed)
    base = np.kron(rng.uniform(-1, 1, (1, 3, 4, 4)), np.ones((3, 3)))
    images = torch.from_numpy(base + 0.3 * sigma * rng.uniform(-1, 1, (12, 3, 12, 12))).float()
    y = torch.from_numpy(base + sigma * rng.standard_normal(base.shape)).float()
    precision = torch.tensor([sigma**-2], dtype=torch.float64)
    patch_size = (3, 5, 9)[seed % 3]
    (state,) = attention_posteriors(y, precision, images, None, "anywhere", (patch_size,), DEFAULT_BUDGET)
    answer, estimate = read_off_products(state, y, precision, patch_size)
    expected = oracle.equivariant_local(y.double().numpy(), images.double().numpy(), 1.0, sigma, patch_size)
    assert relative_error(answer.mean(), expected) < float(estimate) + 5e-7


def test_where_products_are_too_coarse_it_is_known():
    """Two images a hair apart: at low noise their weights hang on the last bits of a distance."""
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, 3, 9, 9, generator=generator) * 2 - 1
    images = torch.cat([image, image + 2e-3 * torch.randn(image.shape, generator=generator)])
    precision = torch.tensor([1e6], dtype=torch.float64)
    y = images.mean(0, keepdim=True)
    (state,) = attention_posteriors(y, precision, images, None, "anywhere", (5,), DEFAULT_BUDGET)
    _, estimate = read_off_products(state, y, precision, 5)
    assert float(estimate) > TOLERANCE


def test_blocks_change_nothing_and_too_little_memory_is_refused():
    y, precision, stored, index, _ = case(5)
    footprint = attention_footprint(y.shape[1:], (3,), "anywhere")
    least = footprint.pair + footprint.query + footprint.image
    (whole,) = attention_posteriors(y, precision, stored, index, "anywhere", (3,), DEFAULT_BUDGET)
    (one_by_one,) = attention_posteriors(y, precision, stored, index, "anywhere", (3,), least)
    torch.testing.assert_close(whole.mean(), one_by_one.mean(), rtol=0, atol=1e-12)
    with pytest.raises(MemoryBudgetError, match="smallest piece"):
        attention_posteriors(y, precision, stored, index, "anywhere", (3,), least - 1)


def test_what_it_does_not_serve_is_left_to_box_sums(monkeypatch):
    monkeypatch.setenv("PATCHMOSAIC_NATIVE", "0")
    assert attends("anywhere", (3, 9, 7), (3, 7))
    assert not attends("anywhere", (3, 9, 7), (3, 9))
    assert not attends("same position", (3, 9, 7), (3,))
    assert attends("inside", (3, 9, 7), (3,))
    assert not attends("same border", (3, 9, 7), (3,))
    y, precision, stored, index, _ = case(1)
    question = y, precision, stored, index, "anywhere", (3,), torch.float32, DEFAULT_BUDGET
    (plain,) = patch_posteriors(*question)
    (traced,) = patch_posteriors(*question, empty=TracedSum.keeping(2))
    assert isinstance(traced, TracedSum)
    torch.testing.assert_close(plain.mean(), traced.mean(), rtol=0, atol=1e-5)
