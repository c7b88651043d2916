"""A fixed decoder: every x0_hat lies on a given manifold.

    x0_hat = Proj_M(D*(x_t))

By Pythagoras' theorem, E‖x0 - g‖² = E‖x0 - D*‖² + E‖D* - g‖² for whatever a decoder g says: the best that one with range M can
do is to come as close to the Bayes denoiser D* as M allows. For a uniform ring of radius R the projection keeps the angle, and
all samples move along rays: the radius at noise level L is R + (L / L_T) (r_T - R).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser
from patchmosaic.denoisers.composed import ComposedDenoiser
from patchmosaic.errors import ShapeError, ValueRangeError
from patchmosaic.noise import CosineSchedule, NoiseSchedule


@dataclass(frozen=True)
class Manifold(ABC):
    """A set of points, known by the nearest of them to any point."""

    @abstractmethod
    def project(self, points: Float64[Tensor, "B D"]) -> Float64[Tensor, "B D"]:
        """The nearest points of the manifold."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A description: equal ones, equal manifolds."""


@dataclass(frozen=True)
class Sphere(Manifold):
    """All points at distance `radius` from the origin: a ring in two dimensions, two points in one."""

    radius: float = 1.0

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueRangeError("the radius of a sphere is above 0", got=self.radius)

    def project(self, points: Float64[Tensor, "B D"]) -> Float64[Tensor, "B D"]:
        """Along the ray from the origin, to which no point is nearest: it goes to the first axis."""
        lengths = points.norm(dim=1, keepdim=True)
        first = torch.zeros_like(points)
        first[:, 0] = 1
        return self.radius * torch.where(lengths > 0, points / lengths.clamp_min(torch.finfo(points.dtype).tiny), first)

    def to_json(self) -> dict[str, Any]:
        """Name and radius."""
        return {"manifold": "Sphere", **asdict(self)}


@dataclass(frozen=True, eq=False)
class Flat(Manifold):
    """The affine space through `origin` (D,) along orthonormal `axes` (D, r): the range of a linear decoder."""

    origin: Float64[Tensor, " D"]
    axes: Float64[Tensor, "D r"]

    def __post_init__(self) -> None:
        gram = self.axes.T @ self.axes
        if not torch.allclose(gram, torch.eye(len(gram), dtype=gram.dtype, device=gram.device), atol=1e-10):
            raise ShapeError(
                "the axes of a flat must be orthonormal columns", got=tuple(self.axes.shape), hint="Try qr(axes).Q."
            )

    def project(self, points: Float64[Tensor, "B D"]) -> Float64[Tensor, "B D"]:
        """Orthogonally."""
        origin, axes = self.origin.to(points.device), self.axes.to(points.device)
        return origin + (points - origin) @ axes @ axes.T

    def to_json(self) -> dict[str, Any]:
        """Name, origin and axes."""
        return {"manifold": "Flat", "origin": self.origin.tolist(), "axes": self.axes.tolist()}


class ManifoldDenoiser(ComposedDenoiser):
    """Another denoiser, whose answers are moved to the nearest point of a manifold.

    Args:
        inner: the Bayes denoiser, or any other.
        manifold: of images as vectors of C H W numbers.
    """

    def __init__(self, inner: Denoiser, manifold: Manifold) -> None:
        super().__init__(inner)
        self.manifold = manifold

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        x0_hat = self.inner._denoise(x_t.double(), t, label)
        return self.manifold.project(x0_hat.flatten(1)).view_as(x0_hat).to(x_t)

    def describe(self) -> dict[str, Any]:
        """Class, inner denoiser, schedule and manifold, as JSON-able data."""
        return {**super().describe(), "manifold": self.manifold.to_json()}


class SphereDenoiser(Denoiser):
    """The Bayes denoiser of the uniform law on a sphere in D dimensions: two points, a ring, a sphere ...

        x0_hat = R A(R ‖y‖ / L²) y / ‖y‖,    A = I_{D/2} / I_{D/2-1},    y = x_t / alpha_t,  L = sigma_t / alpha_t

    with modified Bessel functions I: tanh for D = 1, I1 / I0 for the ring.

    Args:
        dimension: D. An image is a point, of shape (D, 1, 1).
        radius: R.
        schedule: what t means; the paper's cosine by default.
    """

    def __init__(self, dimension: int, radius: float = 1.0, *, schedule: NoiseSchedule | None = None) -> None:
        if dimension < 1:
            raise ShapeError("a sphere lies in at least one dimension", got=dimension)
        self.sphere = Sphere(radius)
        self.schedule = schedule or CosineSchedule()
        self.image_shape = (dimension, 1, 1)
        self._device = torch.device("cpu")

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        alpha, sigma = (scale[:, None] for scale in self.schedule(t))
        points = x_t.double().flatten(1)
        # R ‖y‖ / L² = R alpha ‖x_t‖ / sigma², which is 0 where nothing is seen.
        concentration = self.sphere.radius * alpha * points.norm(dim=1, keepdim=True) / sigma**2
        return (_mean_length(concentration, self.image_shape[0]) * self.sphere.project(points)).view_as(x_t).to(x_t)

    @property
    def device(self) -> torch.device:
        """Where images must be."""
        return self._device

    def to(self, device: torch.device | str) -> SphereDenoiser:
        """Take images on a device; the Bessel functions are those of the CPU."""
        self._device = torch.empty(0, device=device).device
        return self

    def describe(self) -> dict[str, Any]:
        """Class, dimension, radius and schedule, as JSON-able data."""
        sphere = {"dimension": self.image_shape[0], "radius": self.sphere.radius}
        return {"denoiser": type(self).__name__, **sphere, "schedule": self.schedule.to_json()}


def _mean_length(concentration: Float64[Tensor, "B 1"], dimension: int) -> Float64[Tensor, "B 1"]:
    """A: how long the mean of a unit vector of density exp(concentration u'v) is."""
    from scipy.special import hyp0f1, ive

    k = concentration.cpu().numpy()
    half = dimension / 2
    # The power series where it is short; beyond, Bessel functions scaled so as not to overflow.
    series = k / dimension * hyp0f1(half + 1, k.clip(max=10) ** 2 / 4) / hyp0f1(half, k.clip(max=10) ** 2 / 4)
    scaled = ive(half, k.clip(min=10)) / ive(half - 1, k.clip(min=10))
    return torch.where(concentration < 10, torch.from_numpy(series), torch.from_numpy(scaled)).to(concentration.device)
