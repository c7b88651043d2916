"""A polynomial for each principal coefficient: what is left of a target when its coefficients are taken to be independent.

    D(y) = mu + sum_k u_k P_k(u_k' (y - mu)),    P_k the best polynomial of degree d for the one number z_k = u_k' (x0 - mu)

The axes u_k are those of the covariance. Coefficients never meet, so the generated law is the product of one-dimensional
ones, each as the exact polynomial generates it: the moments of every coefficient up to order 2d count, their dependence is
lost. For d = 1 nothing is lost, because the Wiener denoiser is of this form. In dimensions of which no image of the pool
knows anything x0_hat is mu.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.polynomial.base import FittedPolynomial, PolynomialDenoiser
from patchmosaic.denoisers.polynomial.quadrature import Rule, orthonormal
from patchmosaic.engine.memory import scanned
from patchmosaic.engine.moments import fit_gaussian


@dataclass(frozen=True)
class SeparablePolynomial(FittedPolynomial):
    """Principal axes, and the Gauss rule of the coefficient along each.

    Attributes:
        axes: (D, K), orthonormal columns.
        nodes, node_weights: (K, n).
    """

    axes: Float64[Tensor, "D K"]
    nodes: Float64[Tensor, "K n"]
    node_weights: Float64[Tensor, "K n"]
    degree: int

    def estimate(self, y: Float64[Tensor, "B D"], sigma: float) -> Float64[Tensor, "B D"]:
        """x0_hat, not yet bounded."""
        count = self.degree + 1
        noisy = Rule(self.nodes, self.node_weights).blurred(sigma, count)
        basis, values = orthonormal(noisy, count)
        clean = self.nodes.repeat_interleave(count, 1) * noisy.weights.sqrt()
        coefficients = torch.einsum("kp,kpa->ka", clean, values)
        return self.mean + (basis((y - self.mean) @ self.axes) * coefficients).sum(-1) @ self.axes.T


class SeparablePolynomialDenoiser(PolynomialDenoiser):
    """One-dimensional polynomials along the principal axes of the pool. Arguments: see PolynomialDenoiser."""

    def _fit(self, pool: ImageSet, index: Int64[Tensor, " n"] | None) -> SeparablePolynomial:
        vectors = pool.stored.flatten(1)
        mean, axes, _ = fit_gaussian(vectors, index, self.device)
        rule, seen = Rule(*mean.new_zeros(2, axes.shape[1], 0)), 0
        for block in scanned(vectors, index, torch.float64):
            coefficients = ((block.to(mean) - mean) @ axes).T  # (K, n)
            seen += len(block)
            here = Rule(coefficients, torch.full_like(coefficients, 1 / len(block)))
            rule = rule.merged(here, len(block) / seen).reduced(self.degree + 1)
        return SeparablePolynomial(mean, axes, rule.nodes, rule.weights, self.degree)
