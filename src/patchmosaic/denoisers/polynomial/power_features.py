"""The best combination of random powers (r_j · x + b_j)^d of a noisy vector, from moments of the clean one alone.

Let u_j = r_j · (x0 - mu) / s + b_j, and u_j(y) the same of y = x0 + sigma eps. The Hermite features

    h_j(y) = tau_j^d He_d(u_j(y) / tau_j),    tau_j = sigma |r_j| / s,      with    E[h_j(y) | x0] = u_j^d

have, together with y itself, second moments that are finite sums of moments of x0, whatever sigma:

    E[h_i(y) h_j(y)]    = sum_k k! C(d,k)² (sigma² r_i · r_j / s²)^k E[(u_i u_j)^(d-k)]
    E[h_j(y) (y - mu)'] = E[u_j^d (x0 - mu)'] + d sigma² / s E[u_j^(d-1)] r_j'
    E[h_j(y) x0']       = E[u_j^d x0']

So the linear features and the powers are fitted together by one positive definite system, and nothing is drawn but r and b.
With as many powers as there are monomials up to degree d the fit is the best polynomial; with fewer it lies between the
Wiener denoiser and that. Here it is done for S vectors at once, the windows at S places of an image.

References:
    Levine & Weiss 2026 fit random powers to drawn noise; the moments were derived for this project.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import comb, factorial

import torch
from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True)
class PowerMoments:
    """Random powers, and the moments of S targets in them.

    Attributes:
        directions, offsets: r and b.
        scale: s, the root of the total variance of each target.
        powers: E[u^d], and lower E[u^(d-1)].
        products: E[u^(d-k) u^(d-k)'] for k = 0, ..., d - 1; for k = d it is 1.
        crossed: E[u^d (x0 - mu)'].
    """

    degree: int
    directions: Float64[Tensor, "m q"]
    offsets: Float64[Tensor, " m"]
    scale: Float64[Tensor, " S"]
    powers: Float64[Tensor, "S m"]
    lower: Float64[Tensor, "S m"]
    products: Float64[Tensor, "d S m m"]
    crossed: Float64[Tensor, "S m q"]

    @classmethod
    def fit(
        cls,
        blocks: Iterable[Float64[Tensor, "S _ q"]],
        total_variance: Float64[Tensor, " S"],
        degree: int,
        directions: Float64[Tensor, "m q"],
        offsets: Float64[Tensor, " m"],
    ) -> PowerMoments:
        """The moments of S pools of centred vectors, of which `blocks` are parts that follow each other."""
        scale = torch.where(total_variance > 0, total_variance, 1.0).sqrt()
        sites, (count, size), seen = len(scale), directions.shape, 0
        powers, lower = scale.new_zeros(2, sites, count)
        products, crossed = scale.new_zeros(degree, sites, count, count), scale.new_zeros(sites, count, size)
        for vectors in blocks:
            u = vectors @ directions.T / scale[:, None, None] + offsets  # (S, n, m)
            seen += vectors.shape[1]
            powers += (u**degree).sum(1)
            lower += (u ** (degree - 1)).sum(1)
            crossed += (u**degree).mT @ vectors
            for k, product in enumerate(products):
                product.baddbmm_((u ** (degree - k)).mT, u ** (degree - k))
        for moment in (powers, lower, products, crossed):
            moment /= seen
        return cls(degree, directions, offsets, scale, powers, lower, products, crossed)

    def gram(self, sigma: float, sites: slice = slice(None)) -> Float64[Tensor, "S m m"]:
        """The covariance of h(y), of the targets at `sites`."""
        noise = (sigma / self.scale[sites, None, None]) ** 2 * (self.directions @ self.directions.T)  # between the u(y)
        gram = factorial(self.degree) * noise**self.degree - self.powers[sites, :, None] * self.powers[sites, None]
        for k, product in enumerate(self.products[:, sites]):
            gram += factorial(k) * comb(self.degree, k) ** 2 * noise**k * product
        return gram

    def with_y(self, sigma: float, sites: slice = slice(None)) -> Float64[Tensor, "S m q"]:
        """The covariance of h(y) with y."""
        linear = self.lower[sites, :, None] / self.scale[sites, None, None] * self.directions
        return self.crossed[sites] + self.degree * sigma**2 * linear

    def hermite(self, y: Float64[Tensor, "S B q"], sigma: float, sites: slice = slice(None)) -> Float64[Tensor, "S B m"]:
        """h(y) - E h(y), of centred y."""
        scale = self.scale[sites, None, None]
        u, variance = y @ self.directions.T / scale + self.offsets, (sigma / scale) ** 2 * self.directions.square().sum(1)
        before, value = torch.ones_like(u), u
        for k in range(1, self.degree):
            before, value = value, u * value - k * variance * before
        return value - self.powers[sites, None]

    def estimate(
        self, y: Float64[Tensor, "S B q"], covariance: Float64[Tensor, "S q q"], sigma: float, ridge: float, sites: slice
    ) -> Float64[Tensor, "S B q"]:
        """E[x0 - mu] as y - mu and h(y) tell it, for the targets at `sites`.

        Args:
            y: centred.
            covariance: of x0.
            ridge: added to the variance of each power, as a fraction of it.
        """
        linear = covariance + sigma**2 * torch.eye(y.shape[2], dtype=y.dtype, device=y.device)
        gram, shared = self.gram(sigma, sites), self.with_y(sigma, sites)
        gram.diagonal(dim1=1, dim2=2).mul_(1 + ridge)
        system = torch.cat([torch.cat([linear, shared.mT], 2), torch.cat([shared, gram], 2)], 1)
        features = torch.cat([y, self.hermite(y, sigma, sites)], 2)  # (S, B, q + m)
        weights = torch.cholesky_solve(features.mT, torch.linalg.cholesky(system))
        return (torch.cat([covariance, self.crossed[sites].mT], 2) @ weights).mT
