"""Polynomials of the windows of an image: one for each place of a window, which predicts the pixels nearest to its centre.

Near the border a window does not grow smaller: it stays inside, and predicts all pixels from its centre to the border. So all
places of a window have as many pixels and share their random powers, and a window as large as the image has one place, which
predicts everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.denoisers.polynomial.base import FittedPolynomial
from patchmosaic.denoisers.polynomial.power_features import PowerMoments

AT_ONCE = 2**27  # bytes of the systems that are solved together


@dataclass(frozen=True)
class Window:
    """A window at its S places, and what was fitted to it there.

    Attributes:
        numbers: (S, q), which of the D = C H W numbers of an image are seen from each place.
        place, position: (D,), the place that predicts each number, and where the number is among those it sees.
    """

    numbers: Int64[Tensor, "S q"]
    place: Int64[Tensor, " D"]
    position: Int64[Tensor, " D"]
    moments: PowerMoments


@dataclass(frozen=True)
class WindowedPolynomial(FittedPolynomial):
    """The polynomials of the windows that belong to each noise level.

    Attributes:
        covariance: of whole images.
        window: noise level -> the window to look through.
        ridge: see `PowerMoments`.
    """

    covariance: Float64[Tensor, "D D"]
    window: Callable[[float], Window]
    ridge: float

    def estimate(self, y: Float64[Tensor, "B D"], sigma: float) -> Float64[Tensor, "B D"]:
        """x0_hat, not yet bounded."""
        window = self.window(sigma)
        centred, x0_hat = y - self.mean, self.mean.repeat(len(y), 1)
        count, size = window.numbers.shape
        system = centred.itemsize * (size + len(window.moments.offsets)) ** 2
        for start in range(0, count, step := max(1, AT_ONCE // system)):
            places = slice(start, start + step)
            numbers = window.numbers[places]
            covariance = self.covariance[numbers[:, :, None], numbers[:, None]]
            seen = centred[:, numbers].transpose(0, 1)  # (S, B, q)
            answer = window.moments.estimate(seen, covariance, sigma, self.ridge, places)
            mine = (window.place >= start) & (window.place < start + step)
            x0_hat[:, mine] += answer[window.place[mine] - start, :, window.position[mine]].T
        return x0_hat


def places_of(
    image_shape: tuple[int, int, int], size: int
) -> tuple[Int64[Tensor, "S q"], Int64[Tensor, " D"], Int64[Tensor, " D"]]:
    """`numbers`, `place` and `position` of a size x size window, or of one as large as there is room for."""
    channels, height, width = image_shape
    tall, wide = min(size, height), min(size, width)
    row, column = ((torch.arange(side) - fits // 2).clamp(0, side - fits) for side, fits in ((height, tall), (width, wide)))
    pixels = torch.arange(channels * height * width).view(channels, height, width)
    numbers = pixels.unfold(1, tall, 1).unfold(2, wide, 1).permute(1, 2, 0, 3, 4).reshape(-1, channels * tall * wide)
    place = row[:, None] * (width - wide + 1) + column
    inside = (torch.arange(height) - row)[:, None] * wide + torch.arange(width) - column
    position = torch.arange(channels)[:, None, None] * tall * wide + inside
    return numbers, place.expand(channels, -1, -1).flatten(), position.flatten()
