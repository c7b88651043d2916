"""Shadows: a few numbers of each image that bound its weight from above, so that most images need not be looked at.

A shadow S maps an image to fewer numbers, keeps lengths and brings nothing farther apart:

    ‖S(a)‖ = ‖a‖,    ‖S(a) - S(b)‖ <= ‖a - b‖,    hence    a·b <= S(a)·S(b)

and gamma (S(y)·S(phi) - ‖phi‖²/2) is at least the log-weight gamma (y·phi - ‖phi‖²/2) of an image phi. It is made in two steps:

1. Coordinates z. *Cosines*, an orthonormal transform, for machines that compare images in place. *Spectrum*, the moduli of the
   Fourier coefficients, for machines that compare with all circular translates: a translation changes phases only, so that
   z(y)·z(phi) is at least y·T_d phi for every d.
2. The coordinates that carry most of the pool's energy are kept. The others are cut into groups, and of each only the length
   stays: by Cauchy and Schwarz the product of two lengths is at least the product of the groups.

References:
    Faloutsos, Ranganathan & Manolopoulos 1994, "Fast subsequence matching in time-series databases" (leading coefficients of
    an orthonormal transform bound distances from below).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.engine.memory import StoredImages, as_numbers, scanned

Coordinates = Callable[[Float64[Tensor, "n C H W"]], Float64[Tensor, "n D"]]

KEPT, GROUPS = 64, 8
SAMPLED = 1000  # images that tell where the energy is: any order of the coordinates is right, this one makes good bounds


@dataclass(frozen=True)
class Shadows:
    """The shadows of a pool.

    Attributes:
        coordinates: `cosines` or `spectrum`.
        order: (D,) the coordinates, that with the most energy first.
        images: (N, K), the shadow of each image.
        energies: (N,) ‖phi‖² of each.
        low, high: (C, 1, 1), what the values of each channel lie between.
        candidates: how many an image provides: 1, or with `spectrum` its H W translates.
    """

    coordinates: Coordinates
    order: Int64[Tensor, " D"]
    images: Float64[Tensor, "N K"]
    energies: Float64[Tensor, " N"]
    low: Float64[Tensor, "C 1 1"]
    high: Float64[Tensor, "C 1 1"]
    candidates: int

    @classmethod
    def cast(cls, stored: StoredImages, coordinates: Coordinates) -> Shadows:
        """The shadows of all images, in one pass over them and 8 (KEPT + GROUPS) bytes an image."""
        sample = as_numbers(stored[:: max(1, len(stored) // SAMPLED)], torch.float64)
        order = coordinates(sample).square().sum(0).argsort(descending=True)
        shadows, energies, lows, highs = [], [], [], []
        for block in scanned(stored, dtype=torch.float64):
            shadows.append(_shadow(coordinates(block), order))
            energies.append(block.square().sum((1, 2, 3)))
            lows.append(block.amin((0, 2, 3)))
            highs.append(block.amax((0, 2, 3)))
        low, high = torch.stack(lows).amin(0), torch.stack(highs).amax(0)
        candidates = math.prod(stored.shape[2:]) if coordinates is spectrum else 1
        limits = low[:, None, None], high[:, None, None]
        return cls(coordinates, order, torch.cat(shadows), torch.cat(energies), *limits, candidates)

    def upper_log_weights(self, query: Float64[Tensor, "1 C H W"], gamma: float) -> Float64[Tensor, " N"]:
        """The log of the most that each image's candidates can weigh together, whatever float64 arithmetic makes of them."""
        shadow = _shadow(self.coordinates(query), self.order)[0]
        length, largest = shadow.norm(), self.energies.amax().sqrt()
        rounding = 2.0**-48 * (len(self.order) + 64) * largest * (length + largest)
        upper: Tensor = gamma * (self.images @ shadow - 0.5 * self.energies + rounding) + math.log(self.candidates)
        return upper


def shadow_bytes(images: int) -> int:
    """Bytes of the shadows of so many images."""
    return images * (KEPT + GROUPS + 1) * 8


def cosines(images: Float64[Tensor, "n C H W"]) -> Float64[Tensor, "n D"]:
    """The orthonormal cosine transform (DCT-II) over channels, rows and columns."""
    channels, height, width = (_cosine_transform(size).to(images.device) for size in images.shape[1:])
    return torch.einsum("cd,ndhw->nchw", channels, height @ images @ width.T).flatten(1)


def spectrum(images: Float64[Tensor, "n C H W"]) -> Float64[Tensor, "n D"]:
    """Moduli of the Fourier coefficients of rows and columns, after the cosine transform over channels."""
    width = images.shape[-1]
    mixed = torch.einsum("cd,ndhw->nchw", _cosine_transform(images.shape[1]).to(images.device), images)
    moduli: Tensor = torch.fft.rfft2(mixed, norm="ortho").abs()
    # Of a real image half the coefficients are conjugates of the other half, but for the columns of frequency 0 and W/2.
    twice = torch.full((width // 2 + 1,), math.sqrt(2), dtype=torch.float64, device=images.device)
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1
    return (moduli * twice).flatten(1)


def _cosine_transform(size: int) -> Tensor:
    frequency, place = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64) + 0.5
    rows: Tensor = math.sqrt(2 / size) * torch.cos(math.pi / size * frequency * place)
    rows[0] *= math.sqrt(0.5)
    return rows


def _shadow(coordinates: Tensor, order: Tensor) -> Tensor:
    """The first KEPT coordinates in that order, and the lengths of GROUPS groups of the others, small groups first."""
    coordinates = coordinates[:, order]
    rest = max(0, len(order) - KEPT)
    cuts = [KEPT + round(rest * (group / GROUPS) ** 2) for group in range(GROUPS + 1)]
    lengths = [coordinates[:, start:stop].norm(dim=1) for start, stop in pairwise(cuts)]
    return torch.cat([coordinates[:, :KEPT], torch.stack(lengths, 1)], 1)
