"""The jackknife against closed forms: equal weights, one candidate that has all the weight, nothing unseen."""

import numpy as np
import pytest
import torch

from patchmosaic.engine.jackknife import jackknife_variance, merged, relative_error
from patchmosaic.engine.posterior import PosteriorSum


def part(log_weights, values):
    """Candidates (K,) of one query, values (K, 1, 2, 3); each pixel has its own softmax."""
    log_weights, values = torch.as_tensor(log_weights, dtype=torch.float64), torch.as_tensor(values, dtype=torch.float64)
    m = log_weights.amax()
    weights = (log_weights - m).exp()
    cells = torch.ones(1, 2, 3, dtype=torch.float64)
    return PosteriorSum(m * cells, weights.sum() * cells, torch.einsum("k,kchw->chw", weights, values)[None])


def test_equal_weights_give_the_variance_of_a_mean():
    values = np.random.default_rng(0).standard_normal((5, 7, 1, 2, 3))
    parts = [part(np.zeros(7), mine) for mine in values]
    expected = values.mean(1).var(0, ddof=1) / 5  # of the mean of five independent means
    np.testing.assert_allclose(jackknife_variance(parts, 0.0)[0], expected, rtol=1e-12)
    np.testing.assert_allclose(jackknife_variance(parts, 0.75)[0], 0.25 * expected, rtol=1e-12)
    np.testing.assert_allclose(merged(parts).mean()[0], values.mean((0, 1)), rtol=1e-12)


def test_a_subset_that_is_everything_has_no_error():
    parts = [part([0.0, 1.0], np.random.default_rng(j).standard_normal((2, 1, 2, 3))) for j in range(4)]
    assert bool((jackknife_variance(parts, 1.0) == 0).all())


@pytest.mark.parametrize("count", [2, 8])
def test_where_one_candidate_has_all_the_weight_it_is_what_losing_it_would_do(count):
    """The best has value a; without its part the second best, of value b, takes over: ((k - 1) / k)² (a - b)²."""
    a, b = 0.9, 0.2
    levels = [0.0, -1000.0, *[-1e6] * (count - 2)]
    parts = [part([level], np.full((1, 1, 2, 3), value)) for level, value in zip(levels, [a, b, *[0.5] * count], strict=False)]
    expected = ((count - 1) / count * (a - b)) ** 2
    np.testing.assert_allclose(jackknife_variance(parts, 0.0), np.full((1, 1, 2, 3), expected), rtol=1e-9)


def test_merging_leaves_the_parts_as_they_were():
    parts = [part([float(j)], np.full((1, 1, 2, 3), float(j))) for j in range(3)]
    before = [(p.m.clone(), p.s.clone(), p.v.clone()) for p in parts]
    jackknife_variance(parts, 0.5)
    for old, new in zip(before, parts, strict=True):
        assert torch.equal(old[0], new.m)
        assert torch.equal(old[1], new.s)
        assert torch.equal(old[2], new.v)


def test_relative_error():
    mean = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    variance = torch.tensor([0.09, 0.16], dtype=torch.float64).view(1, 1, 1, 2)
    assert relative_error(mean, variance).item() == pytest.approx(0.5 / 5)
    nothing = torch.zeros_like(variance)
    assert relative_error(torch.zeros(1, 1, 1, 2), nothing).item() == 0
    assert relative_error(torch.zeros(1, 1, 1, 2), variance).item() == float("inf")
