"""The best linear convolution of k x k taps: a denoiser that sees a window, the same for all pixels.

    x0_hat(p) = c + sum_u w_u (x_t(p + u) - alpha c),        sum_v w_v (alpha² R_(v-u) + sigma² delta_uv) = alpha R_(-u)

for u, v in the window, on the torus. R_d = E (x(p + d) - c)(x(p) - c)' is the autocovariance, C x C; only the displacements
between pixels of a window matter. What the denoiser generates (`patchmosaic.laws`) has another autocovariance, even at those.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.fitted import Scale
from patchmosaic.denoisers.linear.base import Blocks, WindowLinearDenoiser
from patchmosaic.denoisers.linear.stationary import ConvolutionFilter, constant
from patchmosaic.engine.moments import autocovariance as autocovariance_of
from patchmosaic.engine.moments import fit_spectrum, spectrum_of
from patchmosaic.locality import check_patch_size
from patchmosaic.noise import NoiseSchedule


@dataclass(frozen=True)
class LocalConvolutionFilter(ConvolutionFilter):
    """A convolution of patch_size x patch_size taps; a window larger than the torus sees each pixel once."""

    patch_size: int

    def gain(self, alpha: Scale, sigma: Scale) -> Blocks:
        """The Fourier transform of the taps w_u."""
        height, width, channels, _ = self.spectrum.shape
        covariance = autocovariance_of(self.spectrum)
        rows, columns = (_offsets(self.patch_size, side).to(covariance.device) for side in (height, width))
        row, column = (offset.flatten() for offset in torch.meshgrid(rows, columns, indexing="ij"))  # (P,) each
        between = covariance[(row[:, None] - row) % height, (column[:, None] - column) % width]  # (v, u, C, C): R_(v-u)
        towards = covariance[-row % height, -column % width]  # (u, C, C): R_(-u)
        taps = len(row) * channels
        normal = alpha**2 * between.transpose(1, 2).reshape(taps, taps)
        normal = normal + sigma**2 * torch.eye(taps, dtype=normal.dtype, device=normal.device)
        right = alpha * towards.transpose(0, 1).reshape(channels, taps)
        weights = torch.linalg.solve(normal, right, left=False).view(channels, len(row), channels)  # w_u[a, b] at (a, u, b)
        # x_t(p + u) has the Fourier coefficients of x_t times e^(i k u): an inverse transform without its divisor.
        kernel = torch.zeros(height, width, channels, channels, dtype=torch.complex128, device=covariance.device)
        kernel[row, column] = weights.transpose(0, 1).to(kernel)
        waves: Tensor = torch.fft.ifft2(kernel, dim=(0, 1), norm="forward").flatten(0, 1)
        return waves

    def variances(self) -> None:
        """None: the gain is not that of any covariance."""


class LocalStationaryDenoiser(WindowLinearDenoiser):
    """The best convolution of patch_size x patch_size taps, with circular padding and one bias a channel.

    Args:
        pool: the images whose mean colour and autocovariance are matched.
        patch_size: k, odd.
        schedule: what t means; the paper's cosine by default.

    Raises:
        PatchSizeError: k is even or below 1.
    """

    @classmethod
    def from_moments(
        cls,
        mean: Float64[Tensor, " C"],
        autocovariance: Float64[Tensor, "H W C C"],
        patch_size: int,
        *,
        schedule: NoiseSchedule | None = None,
    ) -> LocalStationaryDenoiser:
        """For a stationary field on the torus: R_d = E (x(p + d) - c)(x(p) - c)' at displacement d."""
        height, width, channels, _ = autocovariance.shape
        spectrum = spectrum_of(autocovariance)
        fitted = LocalConvolutionFilter(constant(mean, height, width), spectrum, check_patch_size(patch_size))
        denoiser = cls._of_fitted(fitted, (channels, height, width), schedule)
        denoiser.patch_size = patch_size
        return denoiser

    def _fit(self, pool: ImageSet, index: Int64[Tensor, " n"] | None) -> LocalConvolutionFilter:
        mean, spectrum = fit_spectrum(pool.stored, index, self.device)
        return LocalConvolutionFilter(constant(mean, *pool.image_shape[1:]), spectrum, self.patch_size)


def _offsets(patch_size: int, side: int) -> Int64[Tensor, " P"]:
    """The distinct offsets of a window on a circle of `side` pixels, as positions on it."""
    radius = patch_size // 2
    offsets: Tensor = torch.arange(-radius, radius + 1).remainder(side).unique()
    return offsets
