"""PosteriorSum against torch.softmax in float64: however the candidates are cut, ordered and merged."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmosaic.engine.posterior import PIXEL_ALLOWANCE, PosteriorSum

CPU = torch.device("cpu")
EMPTY = -math.inf


def candidates(seed, count=6, batch=2, channels=2, height=3, width=2, scale=1.0, per_pixel=True):
    """(K, B, h, w) log-weights of wildly different sizes, about a tenth of them -inf, and (K, B, C, H, W) values."""
    generator = torch.Generator().manual_seed(seed)
    cells = (height, width) if per_pixel else (1, 1)
    log_weights = scale * torch.randn(count, batch, *cells, generator=generator, dtype=torch.float64)
    absent = torch.rand(log_weights.shape, generator=generator) < 0.1
    absent[0] = False  # every softmax keeps a candidate
    values = torch.randn(count, batch, channels, height, width, generator=generator, dtype=torch.float64)
    return log_weights.masked_fill(absent, EMPTY), values


def one(log_weights, value):
    """The state of a single candidate; where its log-weight is -inf there is none."""
    there = (log_weights > EMPTY).double()
    return PosteriorSum(log_weights.clone(), there, value * there[:, None])


def softmax_mean(log_weights, values):
    return (torch.softmax(log_weights, 0)[:, :, None] * values).sum(0)


def merged(log_weights, values, order):
    total = PosteriorSum.empty(*_shape(values, log_weights), device=CPU)
    for k in order:
        total.merge_(one(log_weights[k], values[k]))
    return total


def _shape(values, log_weights):
    return values.shape[1], tuple(values.shape[2:]), log_weights.shape[2:] == values.shape[3:]


def same(left, right):
    torch.testing.assert_close(left.mean(), right.mean(), rtol=1e-12, atol=1e-13)
    # (m, s) is one number in two parts: the log of the sum of all weights.
    torch.testing.assert_close(left.m + left.s.log(), right.m + right.s.log(), rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([0.1, 1.0, 30.0, 1e5]),
    order=st.permutations(range(6)),
    per_pixel=st.booleans(),
)
def test_one_by_one_in_any_order_is_softmax(seed, scale, order, per_pixel):
    log_weights, values = candidates(seed, scale=scale, per_pixel=per_pixel)
    total = merged(log_weights, values, order)
    torch.testing.assert_close(total.mean(), softmax_mean(log_weights, values), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(total.m + total.s.log(), torch.logsumexp(log_weights, 0), rtol=1e-12, atol=1e-12)
    assert torch.equal(total.m, log_weights.amax(0))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1.0, 1e5]), cuts=st.tuples(st.integers(0, 6), st.integers(0, 6)))
def test_merging_is_associative_and_commutative(seed, scale, cuts):
    log_weights, values = candidates(seed, scale=scale)
    i, j = sorted(cuts)

    def parts():
        return [merged(log_weights, values, range(*part)) for part in ((0, i), (i, j), (j, 6))]

    a, b, c = parts()
    left = a.merge_(b).merge_(c)
    a, b, c = parts()
    right = a.merge_(b.merge_(c))
    a, b, c = parts()
    backwards = c.merge_(b).merge_(a)
    same(left, right)
    same(left, backwards)


def test_empty_is_neutral_on_either_side():
    log_weights, values = candidates(0, scale=50.0)
    full = merged(log_weights, values, range(6))
    nothing = PosteriorSum.empty(*_shape(values, log_weights), device=CPU)
    same(merged(log_weights, values, range(6)).merge_(nothing), full)
    same(nothing.merge_(full), merged(log_weights, values, range(6)))
    neither = PosteriorSum.empty(1, (1, 2, 2), per_pixel=True, device=CPU)
    neither.merge_(PosteriorSum.empty(1, (1, 2, 2), per_pixel=True, device=CPU))
    assert bool((neither.m == EMPTY).all())
    assert bool((neither.s == 0).all())
    assert bool((neither.v == 0).all())


@pytest.mark.parametrize("level", [1e5, -1e5, 700.0, -750.0])
def test_huge_log_weights_neither_overflow_nor_vanish(level):
    log_weights = torch.tensor([level, level - 1, level - 2e5], dtype=torch.float64)[:, None, None, None]
    values = torch.tensor([1.0, 2.0, 1e6], dtype=torch.float64)[:, None, None, None, None]
    expected = (1 + 2 * math.exp(-1)) / (1 + math.exp(-1))
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        assert merged(log_weights, values, order).mean().item() == pytest.approx(expected, rel=1e-11)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.permutations(range(3)), columns=st.permutations(range(2)), kept=st.integers(1, 3))
def test_merging_into_some_pixels_leaves_the_others(seed, rows, columns, kept):
    log_weights, values = candidates(seed)
    total = merged(log_weights, values, range(4))
    rows, columns = rows[:kept], columns[:kept]
    part = merged(log_weights, values, [4, 5]).pixels(torch.tensor(rows), torch.tensor(columns))
    total.merge_(part, torch.tensor(rows), torch.tensor(columns))
    chosen = torch.zeros(3, 2, dtype=torch.bool)
    for row in rows:
        for column in columns:
            chosen[row, column] = True
    log_weights[4:] = log_weights[4:].masked_fill(~chosen, EMPTY)
    torch.testing.assert_close(total.mean(), softmax_mean(log_weights, values), rtol=1e-11, atol=1e-12)


def test_pixels_may_arrive_at_another_place():
    log_weights, values = candidates(1)
    other = merged(log_weights, values, range(6))
    total = PosteriorSum.empty(2, (2, 3, 2), per_pixel=True, device=CPU)
    total.merge_(other.pixels(torch.tensor([2, 0]), torch.tensor([1])), torch.tensor([0, 1]), torch.tensor([0]))
    expected = softmax_mean(log_weights, values)
    torch.testing.assert_close(total.mean()[:, :, [0, 1], 0], expected[:, :, [2, 0], 1])
    assert bool((total.m[:, 2] == EMPTY).all())
    assert bool((total.m[:, :, 1] == EMPTY).all())


def test_samples_can_be_taken_and_replaced():
    log_weights, values = candidates(2, batch=4)
    total, expected = merged(log_weights, values, range(6)), softmax_mean(log_weights, values)
    for samples in (torch.tensor([2, 0]), torch.tensor([True, False, True, False]), slice(1, 3)):
        torch.testing.assert_close(total[samples].mean(), expected[samples])
    total[torch.tensor([3, 0])] = total[torch.tensor([0, 3])]
    torch.testing.assert_close(total.mean(), expected[[3, 1, 2, 0]])


def test_a_pixel_that_rounding_moves_is_not_lost_in_the_mean():
    """Judged by softmaxes whose log-weights are disturbed: in one pixel of many, two candidates far apart weigh alike."""
    side, error, draws = 32, 1e-4, 20_000
    values = torch.ones(1, 1, side, side, dtype=torch.float64)
    ahead = one(torch.zeros(1, side, side, dtype=torch.float64), torch.cat([values, values.square()], 1))
    level = torch.full((1, side, side), -200.0, dtype=torch.float64)
    level[0, 3, 4] = 0.0
    state = ahead.merged(one(level, torch.cat([-values, values.square()], 1)))
    _, estimate = state.read_off(torch.full((1, side, side), error, dtype=torch.float64))

    disturbed = error * torch.randn(draws, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = torch.softmax(disturbed, 1) @ torch.tensor([1.0, -1.0], dtype=torch.float64)
    in_the_mean = float(moved.std()) / side  # of an image of size 1
    assert float(estimate) == pytest.approx(float(moved.std()) / PIXEL_ALLOWANCE, rel=0.03)
    assert float(estimate) > 5 * in_the_mean
