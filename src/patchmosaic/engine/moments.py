"""First and second moments of a pool, a block at a time.

    mu = 1/N sum_n phi_n,        Sigma = 1/N sum_n (phi_n - mu)(phi_n - mu)'  =  U diag(l) U'

and, of the pool with all its translates on the torus, whose mean is one number c a channel,

    S_k = 1/(N H W) sum_n X_n,k X_n,k*,    X = FFT(phi - c)        power spectrum, (C, C) a frequency k
    R_d = 1/(N H W) sum_n,p (phi - c)(p + d) (phi - c)(p)'         autocovariance, (C, C) a displacement d; its inverse FFT
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Complex128, Float, Float64, Int64, UInt8
from torch import Tensor

from patchmosaic.engine.memory import StoredImages, scanned

Gaussian = tuple[Float64[Tensor, " D"], Float64[Tensor, "D K"], Float64[Tensor, " K"]]  # mean, axes, variances


def fit_gaussian(
    vectors: Float[Tensor, "N D"] | UInt8[Tensor, "N D"],
    index: Int64[Tensor, " n"] | None = None,
    device: torch.device | str = "cpu",
) -> Gaussian:
    """Mean, principal axes and variances of vectors (those at `index`), stored as a pool stores images.

    The smaller of the covariance and the Gram matrix is decomposed. Beside it only a block of the vectors is held, or all
    where they are fewer than their dimension.
    """
    count, dimension = len(vectors) if index is None else len(index), vectors.shape[1]
    if dimension <= count:
        mean, covariance = fit_covariance(vectors, index, device)
        return mean, *principal_axes(covariance)
    mean = _mean(vectors, index, device)
    centred = torch.cat(list(_blocks(vectors, index, device))) - mean
    variances, dual = torch.linalg.eigh(centred @ centred.T / count)
    kept = variances > variances[-1] * 1e-12
    variances, dual = variances[kept], dual[:, kept]
    return mean, centred.T @ dual / (variances * count).sqrt(), variances


def fit_covariance(
    vectors: Float[Tensor, "N D"] | UInt8[Tensor, "N D"],
    index: Int64[Tensor, " n"] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Float64[Tensor, " D"], Float64[Tensor, "D D"]]:
    """Mean and covariance (divisor n) of vectors, arguments as for `fit_gaussian`."""
    mean = _mean(vectors, index, device)
    count = len(vectors) if index is None else len(index)
    covariance = mean.new_zeros(len(mean), len(mean))
    for block in _blocks(vectors, index, device):
        centred = block - mean
        covariance.addmm_(centred.T, centred, alpha=1 / count)
    return mean, covariance


def principal_axes(covariance: Float64[Tensor, "D D"]) -> tuple[Float64[Tensor, "D D"], Float64[Tensor, " D"]]:
    """Orthonormal axes, as columns, and the variance along each, rising."""
    variances, axes = torch.linalg.eigh(covariance)
    return axes, variances.clamp_min(0)


def fit_spectrum(
    images: StoredImages, index: Int64[Tensor, " n"] | None = None, device: torch.device | str = "cpu"
) -> tuple[Float64[Tensor, " C"], Complex128[Tensor, "H W C C"]]:
    """Mean of each channel and power spectrum of the pool (of the images at `index`) with all its translates on the torus."""
    count = len(images) if index is None else len(index)
    mean = _mean(images, index, device).mean((1, 2))
    _, channels, height, width = images.shape
    spectrum = torch.zeros(height, width, channels, channels, dtype=torch.complex128, device=device)
    for block in _blocks(images, index, device):
        waves = torch.fft.fft2(block - mean[:, None, None], norm="ortho")
        spectrum += torch.einsum("nahw,nbhw->hwab", waves, waves.conj()) / count
    return mean, spectrum


def autocovariance(spectrum: Complex128[Tensor, "H W C C"]) -> Float64[Tensor, "H W C C"]:
    """R_d at displacement d = (row, column) on the torus."""
    covariance: Tensor = torch.fft.ifft2(spectrum, dim=(0, 1)).real
    return covariance


def spectrum_of(covariance: Float64[Tensor, "H W C C"]) -> Complex128[Tensor, "H W C C"]:
    """The power spectrum of an autocovariance."""
    spectrum: Tensor = torch.fft.fft2(covariance.to(torch.complex128), dim=(0, 1))
    return spectrum


def _blocks(stored: Tensor, index: Tensor | None, device: torch.device | str) -> Iterator[Tensor]:
    return (block.to(device) for block in scanned(stored, index, torch.float64))


def _mean(stored: Tensor, index: Tensor | None, device: torch.device | str) -> Tensor:
    count = len(stored) if index is None else len(index)
    mean = torch.zeros(stored.shape[1:], dtype=torch.float64, device=device)
    for block in _blocks(stored, index, device):
        mean += block.sum(0) / count
    return mean
