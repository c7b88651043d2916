"""Attention over patches against the float64 brute force, and its estimate of its own rounding against the rounding."""

import numpy as np
import pytest
import torch
from patch_cases import a_hair_apart, as_pixels, competing_images, question, relative_error

from patchmosaic.engine import oracle
from patchmosaic.engine.attention import attends, attention_footprint, attention_posteriors, read_off_products
from patchmosaic.engine.belief import TracedSum
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.engine.patches import patch_posteriors
from patchmosaic.engine.precision import TOLERANCE
from patchmosaic.errors import MemoryBudgetError

RULES = {"anywhere": "circular", "anywhere inside": "valid"}


def case(seed):
    rng, (y, *others) = question(seed)
    return y, *others, int(rng.choice([size for size in (1, 3, 5, 7, 9, 11) if size <= min(y.shape[2:])]))


def truth(y, precision, stored, index, rule, patch_size):
    images = as_pixels(stored if index is None else stored[index])
    return oracle.equivariant_local(y.numpy(), images, 1.0, float(precision[0]) ** -0.5, patch_size, RULES[rule])


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
    y, precision, images = competing_images(seed, sigma)
    patch_size = (3, 5, 9)[seed % 3]
    (state,) = attention_posteriors(y, precision, images, None, "anywhere", (patch_size,), DEFAULT_BUDGET)
    answer, estimate = read_off_products(state, y, precision, patch_size)
    expected = oracle.equivariant_local(y.double().numpy(), images.double().numpy(), 1.0, sigma, patch_size)
    assert relative_error(answer.mean(), expected) < float(estimate) + 5e-7


def test_where_products_are_too_coarse_it_is_known():
    y, precision, images = a_hair_apart()
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
