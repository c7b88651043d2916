"""Near-ties at low noise, where a float32 softmax is wrong in the fourth digit: the engine must notice and do better."""

import math

import numpy as np
import pytest
import torch

from patchmosaic.engine import oracle
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.engine.patches import patch_posteriors
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.precision import exact
from patchmosaic.engine.translates import translate_posterior
from patchmosaic.engine.whole import whole_image_posterior

SIDE = 6


def near_tie(seed, gamma=1e5, shape=(1, SIDE, SIDE)):
    """Two very different images, and queries far from both, whose distances to them differ by a few parts in 10^7."""
    rng = np.random.default_rng(seed)
    pool = rng.uniform(-1, 1, (2, *shape)).astype(np.float32).astype(np.float64)
    gap = (pool[0] - pool[1]).ravel()
    away = rng.standard_normal((3, gap.size))
    away -= (away @ gap)[:, None] * gap / (gap @ gap)  # as far from the one as from the other
    lean = rng.uniform(-0.7, 0.7, (3, 1)) / gamma  # makes the log-weights differ by 2 * .7 at most
    y = pool.mean(0).ravel() + away + lean * gap / (gap @ gap)
    return torch.from_numpy(y.reshape(3, *shape)).float(), torch.from_numpy(pool).float(), gamma


def relative_error(result, expected):
    return np.linalg.norm(result.double().numpy() - expected) / np.linalg.norm(expected)


def naive(y, pool, gamma):
    """The textbook softmax over whole images, in float32."""
    log_weights = -0.5 * gamma * (y[:, None] - pool).square().sum((2, 3, 4))
    return torch.einsum("bn,nchw->bchw", torch.softmax(log_weights, 1), pool)


def patches(rule):
    def run(y, pool, gammas):
        return patch_posteriors(y.double(), gammas, pool, None, rule, (WHOLE,), y.dtype, DEFAULT_BUDGET)[0].mean()

    return run


WHOLE = 2 * SIDE + 1  # a window that shows every pixel the whole image, so that all machines meet the same tie
MACHINES = {
    "ideal": (
        lambda y, pool, gammas: whole_image_posterior(y.double(), gammas, pool, None, y.dtype, DEFAULT_BUDGET).mean(),
        oracle.ideal,
    ),
    "equivariant": (
        lambda y, pool, gammas: translate_posterior(y.double(), gammas, pool, None, DEFAULT_BUDGET).mean(),
        oracle.equivariant,
    ),
    "local": (patches("same position"), lambda *a: oracle.local(*a, WHOLE)),
    "boundary_broken": (patches("same border"), lambda *a: oracle.boundary_broken(*a, WHOLE)),
    "equivariant_local": (
        patches("anywhere"),
        lambda *a: oracle.equivariant_local(*a, WHOLE),
    ),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("seed", range(3))
def test_near_ties_match_the_oracle(machine, seed):
    y, pool, gamma = near_tie(seed)
    run, truth = MACHINES[machine]
    expected = truth(y.numpy(), pool.numpy(), 1.0, 1 / math.sqrt(gamma))
    assert relative_error(run(y, pool, torch.full((3,), gamma, dtype=torch.float64)), expected) < 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_plain_float32_would_be_wrong(seed):
    y, pool, gamma = near_tie(seed)
    expected = oracle.ideal(y.numpy(), pool.numpy(), 1.0, 1 / math.sqrt(gamma))
    assert relative_error(naive(y, pool, gamma), expected) > 1e-3


@pytest.mark.parametrize("machine", MACHINES)
def test_only_the_queries_that_need_it_are_changed_and_only_for_the_better(machine):
    y, pool, gamma = near_tie(7)
    gammas = torch.tensor([gamma, 1.0, gamma], dtype=torch.float64)  # the second is an easy question
    run, truth = MACHINES[machine]
    result = run(y, pool, gammas)
    for b in range(3):
        expected = truth(y[b : b + 1].numpy(), pool.numpy(), 1.0, 1 / math.sqrt(gammas[b]))
        assert relative_error(result[b : b + 1], expected) < 1e-5


def fixed_pass(s, log_weight_error):
    """A pass that reports a sum of weights `s` and an error a query, and marks its result by the dtype it ran in."""
    calls = []

    def one_pass(queries, precision, dtype, answers):
        calls.append((dtype, len(queries)))
        batch = len(queries)
        value = 1.0 if dtype == torch.float64 else 0.5
        cells = torch.ones(batch, 1, 1, dtype=torch.float64)
        state = PosteriorSum(0 * cells, s * cells, torch.full((batch, 1, 2, 2), value * s, dtype=torch.float64))
        return [state], [state.rounding_error(log_weight_error[:batch, None, None])]

    return one_pass, calls


def test_a_second_pass_is_made_for_the_doubtful_queries_alone():
    one_pass, calls = fixed_pass(2.0, torch.tensor([1e-12, 1e-2, 1e-12, 1e-1], dtype=torch.float64))
    y, gammas = torch.zeros(4, 1, 2, 2), torch.ones(4, dtype=torch.float64)
    (state,) = exact(one_pass, 1, y.double(), gammas, y.dtype)
    assert calls == [(torch.float32, 4), (torch.float64, 2)]
    assert state.mean()[:, 0, 0, 0].tolist() == [0.5, 1.0, 0.5, 1.0]


def test_doubt_counts_only_where_weights_can_move():
    """With one candidate (s = 1) an error in its log-weight changes nothing."""
    one_pass, calls = fixed_pass(1.0, torch.full((4,), 1e3, dtype=torch.float64))
    exact(one_pass, 1, torch.zeros(4, 1, 2, 2, dtype=torch.float64), torch.ones(4, dtype=torch.float64), torch.float32)
    assert calls == [(torch.float32, 4)]


def test_an_undefined_estimate_is_a_doubt():
    one_pass, calls = fixed_pass(2.0, torch.full((4,), math.nan, dtype=torch.float64))
    exact(one_pass, 1, torch.zeros(4, 1, 2, 2, dtype=torch.float64), torch.ones(4, dtype=torch.float64), torch.float32)
    assert calls == [(torch.float32, 4), (torch.float64, 4)]


def test_float64_queries_are_done_once():
    one_pass, calls = fixed_pass(2.0, torch.full((4,), 1.0, dtype=torch.float64))
    exact(one_pass, 1, torch.zeros(4, 1, 2, 2, dtype=torch.float64), torch.ones(4, dtype=torch.float64), torch.float64)
    assert calls == [(torch.float64, 4)]


def test_only_the_doubtful_patch_sizes_are_done_again():
    calls = []

    def one_pass(queries, precision, dtype, answers):
        calls.append((dtype, list(answers)))
        cells = torch.ones(len(queries), 1, 1, dtype=torch.float64)
        value = 1.0 if dtype == torch.float64 else 0.5
        states = [PosteriorSum(0 * cells, 2 * cells, torch.full_like(cells, 2 * value)[:, None]) for _ in answers]
        return states, [cells[:, 0, 0] * (1e-2 if answer == 1 else 1e-12) for answer in answers]

    sums = exact(one_pass, 3, torch.zeros(2, 1, 1, 1, dtype=torch.float64), torch.ones(2, dtype=torch.float64), torch.float32)
    assert calls == [(torch.float32, [0, 1, 2]), (torch.float64, [1])]
    assert [state.mean().unique().item() for state in sums] == [0.5, 1.0, 0.5]
