"""Refinement against the softmax over everything: a bound is never wrong, however bad the upper bounds it is made from."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.refinement import MARGIN, CoarseToFine, RandomSubset

LOW, HIGH = (torch.full((1, 1, 1), limit, dtype=torch.float64) for limit in (-1.0, 1.0))


class Pool:
    """Candidates with given log-weights and values (K, 1, 2, 2), that counts how often it is asked for each."""

    def __init__(self, log_weights, values):
        self.log_weights = torch.as_tensor(log_weights, dtype=torch.float64)
        self.values = torch.as_tensor(values, dtype=torch.float64)
        self.asked = torch.zeros(len(log_weights), dtype=torch.int64)

    def __call__(self, index, dtype=None):
        self.asked[index] += 1
        levels = self.log_weights[index]
        m = levels.amax()
        weights = (levels - m).exp()
        return PosteriorSum(
            m.view(1, 1, 1), weights.sum().view(1, 1, 1), torch.einsum("k,kchw->chw", weights, self.values[index])[None]
        )

    @property
    def images(self):
        return torch.arange(len(self.log_weights))

    def error(self, mean):
        full = torch.einsum("k,kchw->chw", torch.softmax(self.log_weights, 0), self.values)
        return float((mean[0] - full).norm() / full.norm())


def candidates(kind, seed, count):
    """Pools made to fool whoever looks at some of them only."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 1, (count, 1, 2, 2))
    levels = 5 * rng.standard_normal(count)
    if kind == "flat":
        levels[:] = 0
    elif kind == "one outlier":
        levels[:], values[:] = -8, 0.1
        levels[rng.integers(count)] = 0
        values[levels == 0] = -1
    elif kind == "many light ones against a few heavy":
        levels[:], values[:] = -math.log(count), 1.0
        levels[:3], values[:3] = 0.5, -0.5
    elif kind == "cancelling":
        values[::2] = -values[1::2][: len(values[::2])] if count % 2 == 0 else values[::2]
    elif kind == "sorted":
        levels, values = np.sort(levels), np.sort(values, 0)
    return Pool(levels, values)


kinds = st.sampled_from(["spread", "flat", "one outlier", "many light ones against a few heavy", "cancelling", "sorted"])


@settings(max_examples=300, deadline=None)
@given(
    kind=kinds,
    seed=st.integers(0, 10**6),
    count=st.integers(2, 60),
    first=st.integers(1, 5),
    looseness=st.sampled_from([0.0, 1.0, 30.0]),
    tolerance=st.sampled_from([1e-5, 1e-3, 0.1, 0.9]),
)
def test_the_bound_holds_and_the_tolerance_is_kept(kind, seed, count, first, looseness, tolerance):
    pool = candidates(kind, seed, count)
    upper = pool.log_weights + looseness * torch.from_numpy(np.random.default_rng(seed).random(count))
    refined = CoarseToFine(pool, pool.images, upper, LOW, HIGH, tolerance, first).finish(most=count)
    assert int(pool.asked.max()) <= 1
    if refined is not None:
        assert refined.images == int(pool.asked.sum())
        assert pool.error(refined.mean) <= refined.error * (1 + 1e-9) + 1e-12
        assert refined.error <= tolerance


def test_only_what_may_matter_is_looked_at():
    levels = np.r_[np.zeros(5), np.full(995, -40.0)]
    pool = Pool(levels, np.random.default_rng(0).uniform(-1, 1, (1000, 1, 2, 2)))
    refined = CoarseToFine(pool, pool.images, pool.log_weights + 1.0, LOW, HIGH, 1e-3, first=2).finish(most=1000)
    assert refined.images == 5
    assert 0 < pool.error(refined.mean) <= refined.error < 1e-3


def test_positions_are_those_of_the_pool():
    """With a label the images asked for are not the first ones."""
    pool = Pool(np.array([9.0, 0.0, 9.0, 0.1]), np.array([5.0, -0.5, 5.0, 0.25]).reshape(4, 1, 1, 1) * np.ones((4, 1, 2, 2)))
    of_class = torch.tensor([1, 3])
    coarse = CoarseToFine(pool, of_class, pool.log_weights[of_class], LOW, HIGH, 1e-3, first=1)
    refined = coarse.finish(most=2)
    assert pool.asked.tolist() == [0, 1, 0, 1]
    expected = (-0.5 + 0.25 * math.exp(0.1)) / (1 + math.exp(0.1))
    assert refined.mean.flatten()[0].item() == pytest.approx(expected, rel=1e-12)


def test_an_average_that_shrinks_while_looking_is_given_up():
    """The first image alone allows a share to be missing; with the second the average is 0, and nothing may be."""
    pool = Pool(
        np.r_[0.0, 0.0, np.full(10, -30.0)], np.r_[1.0, -1.0, np.ones(10)].reshape(12, 1, 1, 1) * np.ones((12, 1, 2, 2))
    )
    coarse = CoarseToFine(pool, pool.images, pool.log_weights, LOW, HIGH, 1e-3, first=1)
    assert coarse.missing == 1
    assert coarse.finish(most=12) is None


def test_too_many_are_not_looked_at():
    pool = candidates("flat", 0, 50)
    coarse = CoarseToFine(pool, pool.images, pool.log_weights, LOW, HIGH, 1e-3, first=3)
    assert coarse.missing == 47
    assert coarse.finish(most=49) is None
    assert int(pool.asked.sum()) == 3


# Random subsets: an estimate, so nothing is promised of a single one.


def test_an_unseen_outlier_is_not_noticed():
    """Why a subset is no guarantee: the one image that matters is not in it, and all that is in it agrees."""
    pool = candidates("one outlier", 0, 4000)
    order = torch.cat([(pool.log_weights < 0).nonzero()[:, 0], (pool.log_weights == 0).nonzero()[:, 0]])
    refined = RandomSubset(pool, order, 0.01).finish(most=3999)
    assert refined.images < 3999
    assert refined.error < 1e-6
    assert pool.error(refined.mean) > 0.1


def test_enough_images_for_the_tolerance_and_no_more():
    """Equal weights: the error of a mean of n numbers of spread 1/sqrt 3 about 1/2, known in closed form."""
    violations, sizes, repeats, tolerance = 0, [], 60, 0.05
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        pool = Pool(np.zeros(20_000), 0.5 + rng.uniform(-1, 1, (20_000, 1, 2, 2)))
        refined = RandomSubset(pool, torch.from_numpy(rng.permutation(20_000)), tolerance).finish(most=20_000)
        violations += pool.error(refined.mean) > tolerance
        sizes.append(refined.images)
        assert refined.error <= tolerance / MARGIN
    assert violations <= 0.1 * repeats
    needed = (math.sqrt(1 / 3) / 0.5 / (tolerance / MARGIN)) ** 2
    assert 0.5 * needed < np.mean(sizes) < 1.5 * needed


def test_no_image_is_looked_at_twice_and_the_first_come_first():
    pool = candidates("spread", 1, 500)
    order = torch.from_numpy(np.random.default_rng(0).permutation(500))
    subset = RandomSubset(pool, order, 0.2)
    assert torch.equal(pool.asked.nonzero()[:, 0], order[:64].sort().values)
    refined = subset.finish(most=500)
    if refined is not None:
        assert torch.equal(pool.asked.nonzero()[:, 0], order[: refined.images].sort().values)
    assert int(pool.asked.max()) == 1


def test_a_tolerance_that_would_take_everything_is_given_up():
    pool = candidates("flat", 3, 200)
    assert RandomSubset(pool, pool.images, 1e-5).finish(most=10**6) is None
    assert int(pool.asked.sum()) == 64
