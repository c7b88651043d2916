"""Small targets that can be seen: points of one or two numbers in [-1, 1], as pools of images of shape (D, 1, 1).

    bimodal, eight            mixtures of round Gaussians
    ring, moons, spiral       curves
    checkerboard              squares

A `Mixture` tells its density, and points with weights that have its moments up to any order; the corners of a regular m-gon
have those of its circle up to order m - 1. So denoisers can be fitted to the target itself, without a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import PatchMosaicError, ValueRangeError

RADIUS = 0.8  # of curves: leaves room in [-1, 1] for noise round them

Points = Float64[Tensor, "n D"]
Numbers = Shaped[np.ndarray, " n"]


@dataclass(frozen=True)
class Mixture:
    """Round Gaussians of one width, sum_k w_k N(c_k, std² I).

    Args:
        centres: c, in [-1, 1].
        std: of each Gaussian along each axis, positive.
        weights: w, positive, of sum 1.

    Raises:
        ValueRangeError: something is not so.
    """

    centres: Float64[Tensor, "k D"]
    std: float
    weights: Float64[Tensor, " k"]

    def __post_init__(self) -> None:
        if self.centres.abs().max() > 1 or not self.std > 0:
            raise ValueRangeError("centres must lie in [-1, 1], and std be positive", got=f"{self.centres}, {self.std}")
        if not bool((self.weights > 0).all()) or abs(float(self.weights.sum()) - 1) > 1e-9:
            raise ValueRangeError("weights must be positive, of sum 1", got=self.weights.tolist())

    def density(self, x: Points) -> Float64[Tensor, " n"]:
        """p(x)."""
        distances = (x[:, None] - self.centres).square().sum(2)  # (n, k)
        heights = torch.exp(-distances / (2 * self.std**2)) / (2 * math.pi * self.std**2) ** (x.shape[1] / 2)
        density: Tensor = heights @ self.weights
        return density

    def points(self, order: int) -> tuple[Points, Float64[Tensor, " n"]]:
        """Points and weights, of sum 1, with the moments of the mixture up to an order: Gauss-Hermite round each centre."""
        if order < 0:
            raise PatchMosaicError("a moment has an order of at least 0", got=order)
        nodes, heights = (torch.as_tensor(part) for part in np.polynomial.hermite_e.hermegauss(order // 2 + 1))
        dimension = self.centres.shape[1]
        around = torch.cartesian_prod(*[nodes] * dimension).view(-1, dimension)
        weights = torch.cartesian_prod(*[heights / heights.sum()] * dimension).view(-1, dimension).prod(1)
        points = self.centres[:, None] + self.std * around
        return points.flatten(0, 1), (self.weights[:, None] * weights).flatten()

    def pool(self, count: int, seed: int = 0, name: str = "mixture") -> ImageSet:
        """Points drawn independently, labelled by their Gaussian. Those outside [-1, 1] are drawn again."""
        rng, probabilities = np.random.default_rng(seed), self.weights.numpy() / float(self.weights.sum())
        labels, points = np.empty(0, dtype=np.int64), np.empty((0, self.centres.shape[1]))
        while len(points) < count:
            drawn = rng.choice(len(probabilities), count, p=probabilities)
            spots = self.centres.numpy()[drawn] + self.std * rng.standard_normal((count, points.shape[1]))
            inside = (np.abs(spots) <= 1).all(1)
            labels, points = np.concatenate([labels, drawn[inside]]), np.concatenate([points, spots[inside]])
        return pool_of(torch.from_numpy(points[:count]), name, torch.from_numpy(labels[:count]))


def bimodal(std: float = 0.1, share: float = 0.5) -> Mixture:
    """Two Gaussians on the line, at -1/2 and 1/2; the latter has the given share."""
    return Mixture(
        torch.tensor([[-0.5], [0.5]], dtype=torch.float64), std, torch.tensor([1 - share, share], dtype=torch.float64)
    )


def eight(std: float = 0.05, radius: float = RADIUS) -> Mixture:
    """Eight equal Gaussians on a circle."""
    return Mixture(polygon(8, radius), std, torch.full((8,), 1 / 8, dtype=torch.float64))


def polygon(corners: int, radius: float = RADIUS) -> Points:
    """The corners of a regular polygon, from (radius, 0) on; many of them are the circle."""
    if corners < 1:
        raise PatchMosaicError("a polygon has at least one corner", got=corners)
    angles = torch.arange(corners, dtype=torch.float64) * (2 * math.pi / corners)
    return radius * torch.stack([angles.cos(), angles.sin()], 1)


def ring(count: int, seed: int = 0) -> ImageSet:
    """Points at random angles of a circle."""
    angles = np.random.default_rng(seed).uniform(0, 2 * math.pi, count)
    return _planar(RADIUS * np.cos(angles), RADIUS * np.sin(angles), "ring")


def moons(count: int, seed: int = 0, noise: float = 0.03) -> ImageSet:
    """Two half circles that reach into each other, labelled 0 and 1."""
    rng = np.random.default_rng(seed)
    angles, lower = rng.uniform(0, math.pi, count), rng.integers(0, 2, count)
    sign = 1 - 2 * lower
    x = sign * (np.cos(angles) - 0.5) * RADIUS / 1.5
    y = sign * (np.sin(angles) - 0.25) * RADIUS / 1.5
    return _planar(x, y, "moons", rng, noise, lower)


def spiral(count: int, seed: int = 0, noise: float = 0.02) -> ImageSet:
    """An Archimedean spiral of two turns, evenly filled along its length."""
    rng = np.random.default_rng(seed)
    turned = 4 * math.pi * np.sqrt(rng.uniform(0.02, 1, count))
    radius = RADIUS * turned / (4 * math.pi)
    return _planar(radius * np.cos(turned), radius * np.sin(turned), "spiral", rng, noise)


def checkerboard(count: int, seed: int = 0) -> ImageSet:
    """The black squares of a board of 4 x 4, evenly filled."""
    rng = np.random.default_rng(seed)
    column = rng.integers(0, 4, count)
    row = 2 * rng.integers(0, 2, count) + column % 2
    x, y = ((square + rng.uniform(0, 1, count)) / 2 - 1 for square in (column, row))
    return _planar(RADIUS * x, RADIUS * y, "checkerboard")


# Each draws `count` points from a seed.
TARGETS: dict[str, Callable[[int, int], ImageSet]] = {
    "bimodal": lambda count, seed: bimodal().pool(count, seed, "bimodal"),
    "eight": lambda count, seed: eight().pool(count, seed, "eight"),
    "ring": ring,
    "moons": moons,
    "spiral": spiral,
    "checkerboard": checkerboard,
}


def pool_of(points: Points, name: str = "points", labels: Tensor | None = None) -> ImageSet:
    """Points as images of shape (D, 1, 1). A pool keeps float32: about eight digits of them.

    Raises:
        ValueRangeError: a point outside [-1, 1].
    """
    return ImageSet(points[:, :, None, None], labels, name=name)


def _planar(
    x: Numbers, y: Numbers, name: str, rng: np.random.Generator | None = None, noise: float = 0.0, labels: Numbers | None = None
) -> ImageSet:
    points = np.stack([x, y], 1)
    if rng is not None:
        points = (points + noise * rng.standard_normal(points.shape)).clip(-1, 1)
    return pool_of(torch.from_numpy(points), name, None if labels is None else torch.from_numpy(labels))
