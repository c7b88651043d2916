"""Traced posteriors: every way of computing one agrees with the brute force, and their parts merge to the whole."""

import numpy as np
import pytest
import torch

from patchmosaic.engine import oracle
from patchmosaic.engine.belief import TracedSum, largest
from patchmosaic.engine.box_sums import box_sum_posteriors
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.engine.native.instructions import instruction_sets
from patchmosaic.engine.native.posteriors import native_posteriors
from patchmosaic.engine.posterior import PosteriorSum

RULES = {
    "same position": ("local", {}),
    "same border": ("boundary_broken", {}),
    "anywhere": ("equivariant_local", {}),
    "anywhere inside": ("equivariant_local", {"training_padding": "valid"}),
}
WAYS = ["torch", *instruction_sets()]
TOP = 6


def case(seed):
    """Random sizes, more images than a vector holds or fewer, duplicates, an index; noise from hardly any to much."""
    rng = np.random.default_rng(seed)
    channels, height, width = int(rng.choice([1, 3])), int(rng.integers(2, 8)), int(rng.choice([3, 6, 11]))
    stored = torch.from_numpy(rng.integers(0, 256, (int(rng.choice([1, 4, 19])), channels, height, width), dtype=np.uint8))
    if seed % 3 == 0:
        stored = torch.cat([stored, stored[:1]])  # a duplicate
    index = torch.from_numpy(rng.permutation(len(stored))[: max(1, len(stored) - 2)]) if seed % 2 else None
    y = torch.from_numpy(rng.standard_normal((2, channels, height, width)))
    return stored, index, y, 10.0 ** rng.uniform(-1.5, 1), int(rng.choice([1, 3, 5]))


def traced(way, y, sigma, stored, index, rule, patch_size, top=TOP):
    gamma = torch.full((len(y),), sigma**-2, dtype=torch.float64)
    question = (y, gamma, stored, index, rule, (patch_size,))
    if way == "torch":
        (state,) = box_sum_posteriors(*question, DEFAULT_BUDGET, empty=TracedSum.keeping(top))
    else:
        (state,) = native_posteriors(*question, way, TracedSum.keeping(top))
    return state


def beliefs(rule, y, stored, index, sigma, patch_size, row, column):
    """(image, row, column, posterior weights (B, K)) of one pixel by brute force; images are positions in the pool."""
    chosen = np.arange(len(stored)) if index is None else index.numpy()
    images = (stored.numpy().astype(np.float32) / np.float32(127.5) - np.float32(1))[chosen].astype(np.float64)
    machine, options = RULES[rule]
    found = oracle.candidates(machine, y.numpy(), images, 1.0, sigma, row, column, patch_size, **options)
    return chosen[found.image], found.row, found.column, found.posterior_weights


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(6))
def test_weights_spread_and_sources_are_those_of_the_brute_force(way, rule, seed):
    stored, index, y, sigma, patch_size = case(seed)
    if rule == "anywhere inside" and patch_size > min(y.shape[-2:]):
        patch_size = 1
    height, width = y.shape[-2:]
    state = traced(way, y, sigma, stored, index, rule, patch_size)
    rng = np.random.default_rng(seed)
    for _ in range(6):
        row, column = int(rng.integers(height)), int(rng.integers(width))
        image, rows, columns, weights = beliefs(rule, y, stored, index, sigma, patch_size, row, column)
        numbers = (image * height + rows) * width + columns
        for sample, w in enumerate(weights):
            at = (sample, row, column)
            counted = w[w > 0]
            assert float(state.entropy[at]) == pytest.approx(-(counted * np.log(counted)).sum(), abs=1e-9)
            assert float(state.effective_candidates[at]) == pytest.approx(1 / (w**2).sum(), rel=1e-9)
            each = np.bincount(image, weights=w)
            assert float(state.effective_images[at]) == pytest.approx(1 / (each**2).sum(), rel=1e-9)
            kept = min(TOP, len(w))
            found, source = state.weights[sample, :, row, column].numpy(), state.source[sample, :, row, column].numpy()
            np.testing.assert_allclose(found[:kept], np.sort(w)[::-1][:kept], rtol=1e-7, atol=1e-12)
            # Whoever is named has the weight that is told: ties may come in any order.
            of = dict(zip(numbers.tolist(), w.tolist(), strict=True))
            np.testing.assert_allclose([of[number] for number in source[:kept].tolist()], found[:kept], rtol=1e-7, atol=1e-12)
            assert len(set(source[:kept].tolist())) == kept
            assert (source[kept:] == -1).all()
            assert (found[kept:] == 0).all()


@pytest.mark.parametrize("way", WAYS)
def test_sources_beyond_what_is_weighed_are_found_too(way):
    """At low noise all but the nearest weigh nothing, and are left out of the sums; the nearest are still the nearest."""
    rng = np.random.default_rng(3)
    stored = torch.from_numpy(rng.integers(0, 256, (40, 1, 6, 6), dtype=np.uint8))
    y = stored[:1].double() / 127.5 - 1
    state = traced(way, y, 1e-3, stored, None, "same position", 3)
    image, *_ = beliefs("same position", y, stored, None, 1.0, 3, 2, 2)
    *_, near = beliefs("same position", y, stored, None, 1.0, 3, 2, 2)
    expected = image[np.argsort(-near[0], kind="stable")][:TOP]
    assert (state.source[0, :, 2, 2] // 36).tolist() == expected.tolist()


@pytest.mark.parametrize("way", WAYS)
def test_parts_of_a_pool_merge_to_the_whole(way):
    stored, _, y, sigma, patch_size = case(4)
    whole = traced(way, y, sigma, stored, None, "anywhere", patch_size)
    parts = [traced(way, y, sigma, stored, part, "anywhere", patch_size) for part in torch.arange(len(stored)).split(7)]
    merged = TracedSum.keeping(TOP)(len(y), tuple(parts[0].v.shape[1:]), True, y.device)
    for part in parts:
        merged.merge_(part)
    for name in ("entropy", "effective_candidates", "effective_images", "weights"):
        torch.testing.assert_close(getattr(merged, name), getattr(whole, name), rtol=1e-9, atol=1e-12)
    assert bool((merged.source == whole.source).all())
    torch.testing.assert_close(merged.mean(), whole.mean(), rtol=1e-10, atol=1e-12)


def test_tracing_does_not_change_the_answer():
    stored, index, y, sigma, patch_size = case(1)
    for way in WAYS:
        state = traced(way, y, sigma, stored, index, "same border", patch_size)
        gamma = torch.full((len(y),), sigma**-2, dtype=torch.float64)
        question = (y, gamma, stored, index, "same border", (patch_size,))
        (plain,) = box_sum_posteriors(*question, DEFAULT_BUDGET) if way == "torch" else native_posteriors(*question, way)
        assert type(plain) is PosteriorSum
        torch.testing.assert_close(state.mean(), plain.mean(), rtol=1e-12, atol=1e-12)


def test_of_equal_weights_those_with_the_smaller_numbers_are_kept():
    log_weights = torch.tensor([0.0, 1.0, 1.0, -1.0, 1.0]).double().view(1, 5, 1, 1)
    source = torch.tensor([4, 9, 2, 7, 5]).view(1, 5, 1, 1)
    found, whose = largest(log_weights, source, 3)
    assert found.flatten().tolist() == [1, 1, 1]
    assert whose.flatten().tolist() == [2, 5, 9]
