"""The best linear convolution: each frequency on its own.

    X0_hat_k = alpha S_k (alpha² S_k + sigma² I)^-1 X_t,k        around the mean c of each channel

S_k is the power spectrum of the images with all their translates on the torus, a C x C matrix a frequency. A shift-equivariant
linear denoiser can tell no more of the data than this, and its bias is one number a channel: it is the Wiener denoiser of the
stationary Gaussian field of mean c and spectrum S, which is what it generates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Complex128, Float64, Inexact, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.fitted import Scale
from patchmosaic.denoisers.linear.base import Blocks, LinearDenoiser, LinearFilter, wiener_gain
from patchmosaic.engine.moments import fit_spectrum, spectrum_of
from patchmosaic.noise import NoiseSchedule


@dataclass(frozen=True)
class ConvolutionFilter(LinearFilter):
    """What is a convolution on the torus at every noise level: C x C blocks, one a frequency.

    Attributes:
        spectrum: (H, W, C, C) the power spectrum of the images.
    """

    spectrum: Complex128[Tensor, "H W C C"]

    def analyse(self, vectors: Float64[Tensor, "B D"]) -> Complex128[Tensor, "B K m"]:
        """The Fourier coefficients, frequency by frequency."""
        height, width, channels, _ = self.spectrum.shape
        waves = torch.fft.fft2(vectors.view(-1, channels, height, width), norm="ortho")
        coordinates: Tensor = waves.flatten(2).transpose(1, 2)
        return coordinates

    def synthesise(self, coordinates: Inexact[Tensor, "B K m"]) -> Complex128[Tensor, "B D"]:
        """The fields that have these Fourier coefficients."""
        height, width, channels, _ = self.spectrum.shape
        waves = coordinates.transpose(1, 2).reshape(-1, channels, height, width)
        fields: Tensor = torch.fft.ifft2(waves, norm="ortho").flatten(1)
        return fields

    def gain(self, alpha: Scale, sigma: Scale) -> Blocks:
        """alpha S (alpha² S + sigma²)^-1."""
        return wiener_gain(self.spectrum.flatten(0, 1), alpha, sigma)

    def variances(self) -> Blocks | None:
        """S."""
        return self.spectrum.flatten(0, 1)


class StationaryDenoiser(LinearDenoiser):
    """The best shift-equivariant linear denoiser, with circular padding and one bias a channel.

    Args:
        pool: the images whose mean colour and power spectrum are matched.
        schedule: what t means; the paper's cosine by default.
    """

    @classmethod
    def from_moments(
        cls,
        mean: Float64[Tensor, " C"],
        autocovariance: Float64[Tensor, "H W C C"],
        *,
        schedule: NoiseSchedule | None = None,
    ) -> StationaryDenoiser:
        """For a stationary field on the torus: R_d = E (x(p + d) - c)(x(p) - c)' at displacement d."""
        height, width, channels, _ = autocovariance.shape
        fitted = ConvolutionFilter(constant(mean, height, width), spectrum_of(autocovariance))
        return cls._of_fitted(fitted, (channels, height, width), schedule)

    def _fit(self, pool: ImageSet, index: Int64[Tensor, " n"] | None) -> ConvolutionFilter:
        mean, spectrum = fit_spectrum(pool.stored, index, self.device)
        return ConvolutionFilter(constant(mean, *pool.image_shape[1:]), spectrum)


def constant(mean: Float64[Tensor, " C"], height: int, width: int) -> Float64[Tensor, " D"]:
    """An image of one colour, as a vector."""
    return mean[:, None, None].expand(-1, height, width).flatten()
