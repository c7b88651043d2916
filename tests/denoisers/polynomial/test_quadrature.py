"""Gauss rules and orthonormal polynomials against scipy's, and against exact arithmetic."""

from fractions import Fraction
from math import prod

import numpy as np
import pytest
import torch
from scipy import special

from patchmosaic.denoisers.polynomial.quadrature import Rule, gauss_hermite, orthonormal


def rule(*measures):
    nodes, weights = zip(*measures, strict=True)
    return Rule(torch.tensor(np.stack(nodes)), torch.tensor(np.stack([w / w.sum() for w in weights])))


def random_rule(points=60, measures=3):
    rng = np.random.default_rng(0)
    return rule(*((rng.uniform(-1, 1, points) ** 3 + k, rng.uniform(0.1, 1, points)) for k in range(measures)))


@pytest.mark.parametrize("count", [1, 2, 5, 18])
def test_the_rules_of_legendre_and_laguerre_are_theirs(count):
    """A finer rule stands for the measure; scipy knows the coarser one."""
    found = rule(special.roots_legendre(40), special.roots_laguerre(40)).reduced(count)
    for k, known in enumerate((special.roots_legendre, special.roots_laguerre)):
        nodes, weights = known(count)
        order = found.nodes[k].argsort()
        np.testing.assert_allclose(found.nodes[k, order], nodes, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.weights[k, order], weights / weights.sum(), rtol=1e-7, atol=1e-14)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_rule_has_the_moments_of_its_measure(count):
    measure = random_rule()
    found = measure.reduced(count)
    assert found.nodes.shape == (3, count)
    for k in range(3):
        points = [
            (Fraction(x), Fraction(w)) for x, w in zip(measure.nodes[k].tolist(), measure.weights[k].tolist(), strict=True)
        ]
        for power in range(2 * count):
            exact = float(sum(w * x**power for x, w in points))
            np.testing.assert_allclose((found.weights[k] * found.nodes[k] ** power).sum(), exact, rtol=1e-11, atol=1e-13)


def test_measures_of_few_distinct_points_keep_their_moments():
    """Arnoldi's process ends early; what is left over weighs nothing."""
    repeated = np.repeat([-0.3, 0.0, 0.9], 7)
    found = rule((repeated, np.ones(21)), (np.full(21, 0.4), np.ones(21))).reduced(6)
    assert bool(torch.isfinite(found.nodes).all())
    for power in range(12):
        moments = (found.weights * found.nodes**power).sum(1)
        np.testing.assert_allclose(moments, [(repeated**power).mean(), 0.4**power], rtol=1e-11, atol=1e-13)


def test_rules_of_parts_merge_into_that_of_the_whole():
    points = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (2, 60)))
    merged, seen = Rule(points[:, :0], points[:, :0]), 0
    for part in points.split(7, 1):
        seen += part.shape[1]
        merged = merged.merged(Rule(part, torch.full_like(part, 1 / part.shape[1])), part.shape[1] / seen).reduced(4)
    for power in range(8):
        moments = (merged.weights * merged.nodes**power).sum(1)
        np.testing.assert_allclose(moments, (points**power).mean(1), rtol=1e-12, atol=1e-14)


def test_noise_is_added_as_its_moments_tell():
    noisy = rule(([0.5, -1.0], np.array([1.0, 3.0]))).blurred(0.7, 4)
    for power in range(8):
        # E (x + s eps)^p = sum_k C(p, k) x^(p-k) s^k E eps^k, and E eps^k = (k - 1)!! for even k.
        exact = sum(
            weight * special.comb(power, k) * x ** (power - k) * 0.7**k * prod(range(k - 1, 0, -2))
            for x, weight in ((0.5, 0.25), (-1.0, 0.75))
            for k in range(0, power + 1, 2)
        )
        np.testing.assert_allclose((noisy.weights * noisy.nodes**power).sum(), exact, rtol=1e-12)


def test_the_polynomials_of_the_normal_law_are_hermite_s():
    nodes, weights = gauss_hermite(30)
    basis, _ = orthonormal(Rule(2 * nodes[None] + 1, weights[None]), 12)
    y = torch.linspace(-6, 8, 40, dtype=torch.float64)
    values = basis(y[:, None])[:, 0]
    for a in range(12):
        expected = special.eval_hermitenorm(a, (y.numpy() - 1) / 2) / np.sqrt(special.factorial(a))
        np.testing.assert_allclose(values[:, a], expected, rtol=1e-9, atol=1e-9)


def test_polynomials_stay_orthonormal_where_a_measure_is_all_but_four_points():
    """Narrow noise round four points: each polynomial of degree 4 and more is what cancellation leaves of its predecessor."""
    noisy = rule(([-0.9, -0.2, 0.3, 0.8], np.ones(4))).blurred(1e-3, 18)
    basis, _ = orthonormal(noisy, 18)
    values = basis(noisy.nodes.T)[:, 0]
    gram = values.T @ (noisy.weights[0][:, None] * values)
    torch.testing.assert_close(gram, torch.eye(18, dtype=torch.float64), rtol=0, atol=1e-10)


def test_polynomials_stay_orthonormal_where_powers_are_alike():
    """Degree 20 on a narrow interval far from 0: the Gram matrix of the monomials is singular in double precision."""
    points = torch.linspace(10, 10.5, 200, dtype=torch.float64)
    basis, _ = orthonormal(Rule(points[None], torch.full((1, 200), 1 / 200, dtype=torch.float64)), 21)
    values = basis(points[:, None])[:, 0]
    torch.testing.assert_close(values.T @ values / 200, torch.eye(21, dtype=torch.float64), rtol=0, atol=1e-11)
    assert np.linalg.cond(np.vander(points.numpy(), 21)) > 1e16
