"""How much a window can tell of its source at most, and how large it must be to tell it all: closed forms.

A window of P x P pixels and C channels is seen in noise of level lambda = sigma / alpha. Let Sigma_P be the covariance of all
windows of all training images on the torus, and s² = tr Sigma_P / (C P²) the variance of a pixel value. Nothing has more
entropy than a Gaussian of the same covariance, and white pixels have most of all:

    I <= 1/2 ln det(1 + Sigma_P / lambda²) <= (C P² / 2) ln(1 + s² / lambda²)

The first holds for the mean over pixels of LS, ELS and bbELS alike, since ln det is concave: what is known of place or class,
or not seen beyond the border, only takes covariance away. For white Gaussian pixels the second is the channel's capacity. A
random code of |D| words is decoded below capacity and not above it (Shannon), so that the belief condenses on the source where
it reaches ln |D|:

    P_c = sqrt( 2 ln |D| / (C ln(1 + s² / lambda²)) )    ->    (lambda / s) sqrt(2 ln |D| / C)    where lambda >> s

which is L_c ~ sigma sqrt(ln |D|) with its units: L_c in pixels, sigma in standard deviations of a pixel value.

References:
    Hunt, Kamb & Ganguli 2026, arXiv 2607.08041 (the critical scale).
    Shannon 1948; Cover & Thomas 2006, theorems 8.6.5 and 9.1.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.engine.moments import autocovariance, fit_spectrum


def gaussian_information(
    pool: ImageSet, patch_sizes: Sequence[int], noise_levels: Sequence[float]
) -> tuple[Float64[Tensor, "L K"], float]:
    """1/2 ln det(1 + Sigma_P / lambda²) in nats at each noise level and patch size, and s."""
    _, spectrum = fit_spectrum(pool.stored)
    covariance = autocovariance(spectrum)  # (H, W, C, C)
    height, width = covariance.shape[:2]
    squares = torch.tensor([level**2 for level in noise_levels], dtype=torch.float64)
    columns = []
    for size in patch_sizes:
        if size >= max(height, width):
            variances = torch.linalg.eigvalsh(spectrum).flatten()
        else:
            rows, across = torch.arange(min(size, height)), torch.arange(min(size, width))
            row, column = (grid.flatten() for grid in torch.meshgrid(rows, across, indexing="ij"))
            between = covariance[(row[:, None] - row) % height, (column[:, None] - column) % width]  # (P², P², C, C)
            variances = torch.linalg.eigvalsh(between.transpose(1, 2).flatten(2).flatten(0, 1))
        columns.append(0.5 * (variances.clamp_min(0) / squares[:, None]).log1p().sum(1))
    return torch.stack(columns, 1), float(covariance[0, 0].diagonal().mean().sqrt())


def white_critical_size(noise_level: float, ln_candidates: float, value_std: float = 1.0, channels: int = 1) -> float:
    """P_c in pixels, the side of the window at which white Gaussian pixels tell ln |D| nats."""
    return math.sqrt(2 * ln_candidates / (channels * math.log1p((value_std / noise_level) ** 2)))
