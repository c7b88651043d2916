"""The best polynomial of degree d in few dimensions: all monomials, least squares, no rounding to speak of.

    D(y) = sum_a c_a Phi_a(y),    Phi_a(y) = prod_i Q_{a_i}(y_i),  |a| <= d,    c = argmin E|x0 - D(x0 + sigma eps)|²

Q are the orthonormal polynomials of each coordinate of y. The expectation is a sum over the points of the target, each with
(d+1)^D Gauss-Hermite points of noise: no term in it exceeds the degree that they integrate exactly. The least-squares problem
is solved by a QR factorisation that takes the points a block at a time.

In the basis of Hermite features H_a(y) = sigma^|a| He_a(y / sigma), whose mean given x0 is x0^a, the same problem reads G c =
b with

    b_a = E[x0 x0^a],    G_ab = sum_k k! C(a,k) C(b,k) sigma^(2|k|) M_(a+b-2k),    M_a = E[x0^a]

which shows that moments up to order 2d decide everything, but loses half of the digits and more at high degree. In one
dimension the target is replaced by its Gauss rule of d+1 points, which has these moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.polynomial.base import LIMIT, FittedPolynomial, PolynomialDenoiser, bound_of, checked
from patchmosaic.denoisers.polynomial.quadrature import Rule, gauss_hermite, orthonormal
from patchmosaic.engine.memory import as_numbers
from patchmosaic.errors import ShapeError, ValueRangeError
from patchmosaic.noise import NoiseSchedule

MOST_NOISE_POINTS = 4096
ROWS_AT_ONCE = 2**15


@dataclass(frozen=True)
class ExactPolynomial(FittedPolynomial):
    """The points of a target, and the Gauss rules of its coordinates.

    Attributes:
        points, weights: (n, D) and (n,), of the target.
        nodes, node_weights: (D, k), of the rules.
    """

    points: Float64[Tensor, "n D"]
    weights: Float64[Tensor, " n"]
    nodes: Float64[Tensor, "D k"]
    node_weights: Float64[Tensor, "D k"]
    degree: int

    def estimate(self, y: Float64[Tensor, "B D"], sigma: float) -> Float64[Tensor, "B D"]:
        """x0_hat, not yet bounded."""
        basis, _ = orthonormal(Rule(self.nodes, self.node_weights).blurred(sigma, self.degree + 1), self.degree + 1)
        dimension = y.shape[1]
        exponents, coordinates = exponents_up_to(self.degree, dimension), torch.arange(dimension)

        def features(at: Tensor) -> Tensor:
            values = basis(at)  # (B, D, d+1)
            return torch.stack([values[:, coordinates, powers].prod(1) for powers in exponents], 1)

        noise, noise_weights = _grid_of_noise(self.degree + 1, dimension, y.device)
        triangle = y.new_zeros(0, len(exponents) + dimension)
        block = max(1, ROWS_AT_ONCE // len(noise))
        for points, weights in zip(self.points.split(block), self.weights.split(block), strict=True):
            noisy = (points[:, None] + sigma * noise).flatten(0, 1)
            root = (weights[:, None] * noise_weights).flatten().sqrt()[:, None]
            clean = (points - self.mean).repeat_interleave(len(noise), 0)
            rows = torch.cat([features(noisy), clean], 1) * root
            triangle = torch.linalg.qr(torch.cat([triangle, rows]), mode="r").R
        left, right = triangle[: len(exponents)].split([len(exponents), dimension], 1)
        coefficients: Tensor = torch.linalg.pinv(left) @ right
        return self.mean + features(y) @ coefficients


class ExactPolynomialDenoiser(PolynomialDenoiser):
    """The best polynomial of a target in one or a few dimensions. Arguments: see PolynomialDenoiser.

    Raises:
        ShapeError: when first called: so many dimensions that sums over the noise are too long. SeparablePolynomialDenoiser and
            RandomFeatureDenoiser are for those.
    """

    @classmethod
    def from_points(
        cls,
        points: Float64[Tensor, "n D"],
        weights: Float64[Tensor, " n"] | None = None,
        *,
        degree: int,
        schedule: NoiseSchedule | None = None,
        limit: float = LIMIT,
    ) -> ExactPolynomialDenoiser:
        """For a target in closed form: points and weights of which any quadrature rule of degree 2 `degree` will do.

        Raises:
            PatchMosaicError, ShapeError: as for the constructor.
            ValueRangeError: weights that are negative or all 0.
        """
        checked(degree, limit)
        weights = points.new_ones(len(points)) if weights is None else weights
        if not (bool((weights >= 0).all()) and float(weights.sum()) > 0):
            raise ValueRangeError("weights must not be negative, nor all 0", got=f"from {weights.min()} to {weights.max()}")
        weights = weights / weights.sum()
        denoiser = cls._of_fitted(_fit_points(points, weights, degree), (points.shape[1], 1, 1), schedule)
        denoiser.degree, denoiser.limit = degree, limit
        means = [float((weights @ power).mean()) for power in (points, points.square())]
        denoiser.bound = bound_of(means[0], means[1], limit)
        return denoiser

    def _fit(self, pool: ImageSet, index: Int64[Tensor, " n"] | None) -> ExactPolynomial:
        chosen = pool.stored if index is None else pool.stored[index]
        points = as_numbers(chosen, torch.float64).flatten(1).to(self.device)
        return _fit_points(points, points.new_full((len(points),), 1 / len(points)), self.degree)


def exponents_up_to(degree: int, dimension: int) -> list[tuple[int, ...]]:
    """The exponents of all monomials of at most a degree."""
    return [powers for powers in product(range(degree + 1), repeat=dimension) if sum(powers) <= degree]


def _fit_points(points: Tensor, weights: Tensor, degree: int) -> ExactPolynomial:
    dimension = points.shape[1]
    if (degree + 1) ** dimension > MOST_NOISE_POINTS:
        raise ShapeError(
            f"(degree + 1)^D must be at most {MOST_NOISE_POINTS:,}",
            got=f"degree {degree} in {dimension} dimensions",
            hint="Try RandomFeatureDenoiser or SeparablePolynomialDenoiser.",
        )
    rules = Rule(points.T, weights.expand(dimension, -1)).reduced(degree + 1)
    if dimension == 1:
        points, weights = rules.nodes.T, rules.weights[0]
    return ExactPolynomial(weights @ points, points, weights, rules.nodes, rules.weights, degree)


def _grid_of_noise(count: int, dimension: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Points (count^D, D) and weights of the rule of N(0, I)."""
    nodes, weights = gauss_hermite(count, device)
    grid = torch.cartesian_prod(*[nodes] * dimension).view(-1, dimension)
    return grid, torch.cartesian_prod(*[weights] * dimension).view(-1, dimension).prod(1)
