"""What all linear denoisers share: an affine map, in blocks.

    x0_hat = mu + V A_t V* (x_t - alpha_t mu)

V is an orthonormal system that does not depend on t (principal axes, waves, pixels) and A_t is block diagonal in it, K blocks
of m x m: its `gain`. A `LinearFilter` knows V and A_t; a denoiser has one for each class.

For second moments S the best map under the restriction of the family is found by least squares, so A_t has the form
alpha S (alpha² S + sigma² I)^-1 or consists of solutions of smaller systems of that kind.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64, Inexact, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.fitted import Fitted, FittedDenoiser, Scale
from patchmosaic.locality import check_patch_size
from patchmosaic.noise import NoiseSchedule

Blocks = Inexact[Tensor, "K m m"]  # float64 or complex128


@dataclass(frozen=True)
class LinearFilter(Fitted):
    """The affine maps of one family at all noise levels, fitted to one set of second moments."""

    @abstractmethod
    def analyse(self, vectors: Float64[Tensor, "B D"]) -> Inexact[Tensor, "B K m"]:
        """V* vectors: the coordinates in which the map is blocks."""

    @abstractmethod
    def synthesise(self, coordinates: Inexact[Tensor, "B K m"]) -> Inexact[Tensor, "B D"]:
        """V coordinates; complex where V is, real up to rounding for the coordinates of real vectors."""

    @abstractmethod
    def gain(self, alpha: Scale, sigma: Scale) -> Blocks:
        """A_t at (alpha_t, sigma_t)."""

    def variances(self) -> Blocks | None:
        """S in blocks, where the gain is alpha S (alpha² S + sigma² I)^-1 with it at all noise levels; else None."""
        return None

    def denoise(self, vectors: Float64[Tensor, "B D"], alpha: Scale, sigma: Scale) -> Float64[Tensor, "B D"]:
        """x0_hat of noisy vectors, all at one noise level."""
        coordinates = self.analyse(vectors - alpha * self.mean)
        x0_hat = self.synthesise(apply_blocks(self.gain(alpha, sigma), coordinates))
        return self.mean + (x0_hat.real if x0_hat.is_complex() else x0_hat)


class LinearDenoiser(FittedDenoiser):
    """Base of the linear families; with a label, that of the class. Each class is fitted when it is first asked for.

    Args:
        pool: the images whose second moments (divisor N) are used.
        schedule: what t means; the paper's cosine by default.
    """

    @abstractmethod
    def _fit(self, pool: ImageSet, index: Int64[Tensor, " n"] | None) -> LinearFilter:
        """The maps for the images at `index`, on the denoiser's device."""

    def fitted(self, label: int | None = None) -> LinearFilter:
        """The maps for a class, or for all images."""
        fitted = super().fitted(label)
        assert isinstance(fitted, LinearFilter)
        return fitted


class WindowLinearDenoiser(LinearDenoiser):
    """Base of the linear families in which a pixel sees patch_size x patch_size pixels around it.

    Args:
        pool: the images whose second moments (divisor N) are used.
        patch_size: k, odd.
        schedule: what t means; the paper's cosine by default.

    Raises:
        PatchSizeError: k is even or below 1.
    """

    patch_size: int

    def __init__(self, pool: ImageSet, patch_size: int, *, schedule: NoiseSchedule | None = None) -> None:
        super().__init__(pool, schedule=schedule)
        self.patch_size = check_patch_size(patch_size)

    def describe(self) -> dict[str, Any]:
        """Class, moments, patch size and schedule, as JSON-able data."""
        return super().describe() | {"patch_size": self.patch_size}


def wiener_gain(moments: Blocks, alpha: Scale, sigma: Scale) -> Blocks:
    """alpha S (alpha² S + sigma² I)^-1 for each block."""
    noise = sigma**2 * torch.eye(moments.shape[-1], dtype=moments.dtype, device=moments.device)
    gain: Tensor = alpha * torch.linalg.solve(alpha**2 * moments + noise, moments, left=False)
    return gain


def apply_blocks(blocks: Blocks, coordinates: Inexact[Tensor, "B K m"]) -> Inexact[Tensor, "B K m"]:
    """Each block times its coordinates."""
    return (blocks @ coordinates[..., None])[..., 0]
