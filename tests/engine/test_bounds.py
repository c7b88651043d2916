"""Bounds of what leaving candidates out costs, against float64 softmax over all of them, on candidates chosen to break them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmosaic.engine.bounds import allowed_share, missing_share, skip_threshold, skipped_share, worst_error
from patchmosaic.engine.posterior import PosteriorSum

LOW, HIGH = torch.tensor(-1.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)


def softmax_mean(log_weights, values):
    weights = np.exp(log_weights - log_weights.max())
    return np.tensordot(weights / weights.sum(), values, 1)


def posterior(log_weights, values):
    """One query whose pixels share a softmax over candidates (K,) with values (K, C, H, W)."""
    m = log_weights.max()
    weights = np.exp(log_weights - m)
    state = (np.array([[[m]]]), np.array([[[weights.sum()]]]), np.tensordot(weights, values, 1)[None])
    return PosteriorSum(*(torch.from_numpy(part) for part in state))


def log_sum(log_weights):
    return torch.tensor(np.logaddexp.reduce(log_weights) if len(log_weights) else -math.inf, dtype=torch.float64).view(1, 1, 1)


def relative(result, expected):
    return np.linalg.norm(result - expected) / np.linalg.norm(expected)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(2, 40),
    scale=st.sampled_from([0.0, 0.3, 3.0, 50.0, 1e4]),
    corners=st.booleans(),
    slack=st.sampled_from([0.0, 0.1, 5.0]),
)
def test_the_error_of_a_mean_is_never_above_its_bound(seed, count, scale, corners, slack):
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 1, (count, 2, 2, 3))
    if corners:
        values = np.sign(values)
    log_weights = scale * rng.standard_normal(count)
    kept = rng.permutation(count)[: rng.integers(1, count + 1)]
    others = np.setdiff1d(np.arange(count), kept)
    state, left_out = posterior(log_weights[kept], values[kept]), log_sum(log_weights[others]) + slack
    bound = worst_error(state, left_out, LOW, HIGH).item()
    true = relative(state.mean()[0].numpy(), softmax_mean(log_weights, values))
    assert true <= bound * (1 + 1e-9) + 1e-12
    if len(others) == 0:
        assert bound == 0


def test_the_bound_is_reached():
    """All that was kept is -1/2 and all that was left out is 1: no smaller number would be a bound of the absolute error."""
    values = np.concatenate([np.full((3, 1, 1, 1), -0.5), np.full((5, 1, 1, 1), 1.0)])
    log_weights = np.array([0.0, -1.0, -2.0, -3.0, -4.0, -3.0, -5.0, -9.0])
    state, left_out = posterior(log_weights[:3], values[:3]), log_sum(log_weights[3:])
    change = abs(softmax_mean(log_weights, values).item() + 0.5)
    assert change == pytest.approx(1.5 * missing_share(state, left_out).item(), rel=1e-12)
    assert worst_error(state, left_out, LOW, HIGH).item() == pytest.approx(change / (0.5 - change), rel=1e-12)


def test_nothing_is_promised_where_the_mean_may_be_zero():
    state = posterior(np.zeros(2), np.stack([np.full((1, 2, 2), 0.01), np.full((1, 2, 2), -0.01)]))
    assert worst_error(state, log_sum(np.array([-5.0])), LOW, HIGH).item() == math.inf
    assert worst_error(state, log_sum(np.array([])), LOW, HIGH).item() == 0


def test_what_is_equal_everywhere_cannot_be_wrong():
    """In a pool of equal constant images no image matters: the range of values says so."""
    value = torch.tensor(0.3, dtype=torch.float64)
    state = posterior(np.zeros(2), np.full((2, 1, 2, 2), 0.3))
    assert worst_error(state, log_sum(np.full(50, 3.0)), value, value).item() <= 1e-15
    assert allowed_share(state.mean(), 1e-3, value, value).item() == 1


@pytest.mark.parametrize("tolerance", [1e-5, 1e-2, 0.5])
def test_the_allowed_share_is_what_keeps_the_tolerance(tolerance):
    rng = np.random.default_rng(0)
    state = posterior(rng.standard_normal(5), rng.uniform(-1, 1, (5, 2, 3, 3)))
    share = allowed_share(state.mean(), tolerance, LOW, HIGH)
    left_out = state.m + state.s.log() + torch.logit(share).view(1, 1, 1)
    assert worst_error(state, left_out, LOW, HIGH).item() == pytest.approx(tolerance, rel=1e-9)


# Skipping.


def skip(log_weights, theta):
    """The running maximum as a kernel keeps it: what comes in may be skipped, what is in stays."""
    kept, running = [], -math.inf
    for place, level in enumerate(log_weights):
        if level >= running - theta:
            kept.append(place)
            running = max(running, level)
    return np.array(kept)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    theta=st.floats(0.1, 12.0),
    count=st.integers(1, 300),
    kind=st.sampled_from(["spread", "all but one just below", "all but a tenth just below", "rising", "equal"]),
)
def test_skipping_leaves_out_at_most_what_it_says(seed, theta, count, kind):
    rng = np.random.default_rng(seed)
    log_weights = {
        "spread": 8 * rng.standard_normal(count),
        "all but one just below": np.r_[0.0, np.full(count - 1, -theta - 1e-9)],  # the most that can be skipped
        "all but a tenth just below": np.r_[np.zeros(1 + count // 10), np.full(count - 1 - count // 10, -theta - 1e-9)],
        "rising": np.sort(8 * rng.standard_normal(count)),
        "equal": np.zeros(count),
    }[kind]
    kept = skip(log_weights, theta)
    weights = np.exp(log_weights - log_weights.max())
    missing = 1 - weights[kept].sum() / weights.sum()
    assert missing <= skipped_share(count, theta) * (1 + 1e-9) + 1e-12
    known = skipped_share(count, theta, kept=weights[kept].sum())
    assert missing <= known * (1 + 1e-9) + 1e-12
    if kind.startswith("all but") and len(kept) < count:
        assert missing >= 0.2 * known  # the bound is not idle


@settings(max_examples=50, deadline=None)
@given(candidates=st.integers(1, 10**12), share=st.floats(1e-300, 1.0))
def test_threshold_and_share_are_inverse(candidates, share):
    theta = skip_threshold(candidates, share)
    assert skipped_share(candidates, theta) == pytest.approx(share, rel=1e-9)
    assert skipped_share(candidates, theta + 1) < share
    assert skipped_share(candidates, -1e9) == 1
