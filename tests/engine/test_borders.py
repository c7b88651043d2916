"""bbELS without the kernel, split at the border, against the float64 brute force; and its estimate of its own rounding."""

import re

import pytest
import torch
from patch_cases import a_hair_apart, as_pixels, competing_images, question, relative_error

from patchmosaic.engine import oracle
from patchmosaic.engine.belief import TracedSum
from patchmosaic.engine.borders import border_footprint, border_posteriors, has_inside, read_off_border
from patchmosaic.engine.matching import admitted_places
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.engine.native.instructions import instruction_sets
from patchmosaic.engine.patches import patch_posteriors
from patchmosaic.engine.precision import TOLERANCE
from patchmosaic.errors import MemoryBudgetError


def case(seed):
    rng, asked = question(seed)
    return *asked, (3, *(int(size) for size in rng.choice([1, 5, 7, 9, 11, 15], 2, replace=False)))


def truth(y, precision, stored, index, patch_size):
    images = as_pixels(stored if index is None else stored[index])
    return oracle.boundary_broken(y.numpy(), images, 1.0, float(precision[0]) ** -0.5, patch_size)


@pytest.mark.parametrize("seed", range(16))
def test_float64_matches_the_brute_force(seed):
    *question, patch_sizes = case(seed)
    states = border_posteriors(*question, patch_sizes, DEFAULT_BUDGET)
    for size, state in zip(patch_sizes, states, strict=True):
        assert relative_error(state.mean()[:, :-1], truth(*question, size)) < 1e-9


@pytest.mark.parametrize("seed", range(16))
def test_without_the_kernel_float32_is_as_right_as_promised(seed, monkeypatch):
    monkeypatch.setenv("PATCHMOSAIC_NATIVE", "0")
    *question, patch_sizes = case(seed)
    states = patch_posteriors(*question, "same border", patch_sizes, torch.float32, DEFAULT_BUDGET)
    for size, state in zip(patch_sizes, states, strict=True):
        assert relative_error(state.mean(), truth(*question, size)) < 1e-5


@pytest.mark.skipif(not instruction_sets(), reason="the kernel was not built")
@pytest.mark.parametrize("seed", range(100, 106))
def test_the_kernel_gives_the_same_answers(seed, monkeypatch):
    *question, patch_sizes = case(seed)
    by_kernel = patch_posteriors(*question, "same border", patch_sizes, torch.float32, DEFAULT_BUDGET)
    monkeypatch.setenv("PATCHMOSAIC_NATIVE", "0")
    in_torch = patch_posteriors(*question, "same border", patch_sizes, torch.float32, DEFAULT_BUDGET)
    for one, other in zip(by_kernel, in_torch, strict=True):
        torch.testing.assert_close(one.mean(), other.mean(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(9, 6), (4, 11), (3, 3), (1, 5)])
def test_every_patch_is_met_once(height, width):
    """Where all images are one grey, all patches are equally near: the weights count them."""
    images, y = torch.full((5, 2, height, width), 0.5), torch.zeros(1, 2, height, width, dtype=torch.float64)
    patch_sizes = tuple(size for size in (1, 3, 5, 7, 9) if size == 1 or min(height, width) > 1)
    states = border_posteriors(y, torch.ones(1, dtype=torch.float64), images, None, patch_sizes, DEFAULT_BUDGET)
    for size, state in zip(patch_sizes, states, strict=True):
        expected = 5.0 * admitted_places("same border", (height, width), size)
        torch.testing.assert_close(state.s[0], expected.double(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sigma", [2.0, 0.3, 0.05, 0.01, 0.003])
def test_rounding_is_estimated(seed, sigma):
    y, precision, images = competing_images(seed, sigma)
    patch_size = (3, 5, 9)[seed % 3]
    (state,) = border_posteriors(y, precision, images, None, (patch_size,), DEFAULT_BUDGET)
    answer, estimate = read_off_border(state, y, precision, patch_size)
    expected = oracle.boundary_broken(y.double().numpy(), images.double().numpy(), 1.0, sigma, patch_size)
    assert relative_error(answer.mean(), expected) < float(estimate) + 5e-7


def test_where_float32_is_too_coarse_it_is_known():
    y, precision, images = a_hair_apart()
    (state,) = border_posteriors(y, precision, images, None, (5,), DEFAULT_BUDGET)
    _, estimate = read_off_border(state, y, precision, 5)
    assert float(estimate) > TOLERANCE


def test_blocks_change_nothing_and_too_little_memory_is_refused():
    *question, patch_sizes = case(5)
    footprint = border_footprint(question[0].shape[1:], patch_sizes)
    least = 2 * (footprint.pair + footprint.query) + footprint.image
    whole = border_posteriors(*question, patch_sizes, DEFAULT_BUDGET)
    one_by_one = border_posteriors(*question, patch_sizes, least)
    for state, other in zip(whole, one_by_one, strict=True):
        torch.testing.assert_close(state.mean(), other.mean(), rtol=0, atol=1e-12)
    with pytest.raises(MemoryBudgetError, match=re.escape(f"got {least - 1:,} bytes. Give memory_budget at least {least:,}")):
        border_posteriors(*question, patch_sizes, least - 1)


def test_what_it_does_not_serve_is_left_to_box_sums(monkeypatch):
    monkeypatch.setenv("PATCHMOSAIC_NATIVE", "0")
    assert has_inside((3, 9, 7), (3, 11))
    assert not has_inside((3, 9, 7), (9, 11))
    *question, _ = case(1)
    asked = *question, "same border", (3,), torch.float32, DEFAULT_BUDGET
    (plain,) = patch_posteriors(*asked)
    (traced,) = patch_posteriors(*asked, empty=TracedSum.keeping(2))
    assert isinstance(traced, TracedSum)
    torch.testing.assert_close(plain.mean(), traced.mean(), rtol=0, atol=1e-5)
