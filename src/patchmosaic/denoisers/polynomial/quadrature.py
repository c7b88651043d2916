"""Polynomials orthonormal under a measure on the line, and the Gauss rules that stand for it; K measures at once.

Arnoldi's process finds Q_0, ..., Q_n with E[Q_a Q_b] = delta_ab and keeps its coefficients h:

    h_{k+1,k} Q_{k+1}(u) = u Q_k(u) - sum_{j <= k} h_{jk} Q_j(u)

Repeating them evaluates the Q anywhere as stably as they were found, where powers of u would lose all digits. The eigenvalues
of h are the nodes of the n-point Gauss rule, which integrates degree 2n - 1 exactly: it says of a measure what its moments up
to that order say, without their rounding. Two rules are merged by the rule of their union, so that one pass over a pool finds
its rule.

References:
    Golub & Welsch 1969; Brubeck, Nakatsukasa & Trefethen 2021, "Vandermonde with Arnoldi".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

ROUNDING = 64 * torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Rule:
    """K discrete probability measures of n points each."""

    nodes: Float64[Tensor, "K n"]
    weights: Float64[Tensor, "K n"]

    def mean(self) -> Float64[Tensor, " K"]:
        """The K means."""
        return (self.weights * self.nodes).sum(1)

    def merged(self, other: Rule, share: float) -> Rule:
        """The mixture of both, `share` of it `other`."""
        weights = torch.cat([(1 - share) * self.weights, share * other.weights], 1)
        return Rule(torch.cat([self.nodes, other.nodes], 1), weights)

    def reduced(self, count: int) -> Rule:
        """The Gauss rule of `count` nodes; the measure itself where it has no more points."""
        if self.nodes.shape[1] <= count:
            return self
        basis, _ = orthonormal(self, count)
        nodes, vectors = torch.linalg.eigh(basis.recurrence[:, :count])  # reads diagonal and below: Jacobi's matrix
        return Rule(basis.shift[:, None] + basis.scale[:, None] * nodes, vectors[:, 0].square())

    def blurred(self, sigma: float, count: int) -> Rule:
        """The law of node + sigma eps, eps ~ N(0, 1), as far as degree 2 `count` - 1 in eps: `count` points for each node."""
        noise, weights = gauss_hermite(count, self.nodes.device)
        nodes = self.nodes[:, :, None] + sigma * noise
        return Rule(nodes.flatten(1), (self.weights[:, :, None] * weights).flatten(1))

    def to(self, device: torch.device | str) -> Rule:
        """A copy on a device."""
        return Rule(self.nodes.to(device), self.weights.to(device))


@dataclass(frozen=True)
class Basis:
    """Orthonormal polynomials Q_0, ..., Q_{n-1} of K measures, in u = (y - shift) / scale."""

    shift: Float64[Tensor, " K"]
    scale: Float64[Tensor, " K"]
    recurrence: Float64[Tensor, "K rows n"]

    def __call__(self, y: Float64[Tensor, "B K"]) -> Float64[Tensor, "B K n"]:
        """The values at y; Q_a = 0 where the measure has no more than a points."""
        u = (y - self.shift) / self.scale
        values = u.new_ones(*u.shape, self.recurrence.shape[2])
        for k in range(values.shape[2] - 1):
            earlier = (values[:, :, : k + 1] * self.recurrence[:, : k + 1, k]).sum(2)
            values[:, :, k + 1] = _divided(u * values[:, :, k] - earlier, self.recurrence[:, k + 1, k])
        return values


def orthonormal(measure: Rule, count: int) -> tuple[Basis, Float64[Tensor, "K P n"]]:
    """The first `count` orthonormal polynomials of each measure; their values at its points, times the roots of the weights."""
    shift = measure.mean()
    centred = measure.nodes - shift[:, None]
    scale = centred.abs().amax(1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    u, root = centred / scale[:, None], measure.weights.sqrt()  # (K, P)
    recurrence = u.new_zeros(len(u), count + 1, count)
    values = u.new_zeros(*u.shape, count + 1)
    values[:, :, 0] = root  # times the roots of the weights, so that inner products are plain sums
    for k in range(count):
        rest, earlier = u * values[:, :, k], values[:, :, : k + 1]
        for _ in range(2):  # once more, for what cancellation left of the earlier ones
            parts = (earlier * rest[:, :, None]).sum(1)  # (K, k + 1)
            recurrence[:, : k + 1, k] += parts
            rest = rest - (earlier * parts[:, None]).sum(2)
        length = rest.norm(dim=1)
        recurrence[:, k + 1, k] = torch.where(length > ROUNDING, length, torch.zeros_like(length))
        values[:, :, k + 1] = _divided(rest, recurrence[:, k + 1, k, None])
    return Basis(shift, scale, recurrence), values[:, :, :count]


def gauss_hermite(count: int, device: torch.device | str = "cpu") -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """Nodes and weights of the rule of N(0, 1), exact to degree 2 `count` - 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return torch.as_tensor(nodes).to(device), torch.as_tensor(weights / weights.sum()).to(device)


def _divided(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient; 0 where the denominator is 0."""
    return torch.where(denominator > 0, numerator / torch.where(denominator > 0, denominator, 1.0), 0.0)
