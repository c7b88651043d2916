"""Belief along a trajectory: at each noise level what is made of the noise, how undecided each pixel is, and among how many.

Upper row: x0_hat. Middle: entropy of the belief as a share of the most it could be; 1 is no idea, 0 is certainty. Lower: the
effective number of patches that are averaged, on a log scale: where it is 1, one training patch is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.canvas import CanvasDisplay, Laid
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.style import BODY, PAGE, SMALL, TITLE, Theme, fitted, signed
from patchmosaic.provenance.tracing import Provenance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = "viridis"  # the same order of lightness with every kind of colour vision, and in print
# Inches: names at the left, the colour bars at the right with their numbers, between maps, above them, a line of text.
_LABELS, _SCALES, _GAP, _HEADING, _LINE, _EDGE = 0.98, 0.62, 0.07, 0.36, 0.2, 0.1
_LARGEST = 1.1


class BeliefMapsDisplay(CanvasDisplay):
    """A column for each noise level.

    Args:
        noise_levels: sigma / alpha, falling as an image forms.
        drawn: (levels, C, H, W), the x0_hat of each, in [-1, 1].
        entropy_share: (levels, H, W), in [0, 1].
        effective: (levels, H, W), effective number of patches, from 1 up.
        title: what is drawn.

    Raises:
        PatchMosaicError: there is nothing to show.
    """

    def __init__(
        self,
        noise_levels: Sequence[float],
        drawn: Float[Tensor, "levels C H W"],
        entropy_share: Float64[Tensor, "levels H W"],
        effective: Float64[Tensor, "levels H W"],
        title: str = "",
    ) -> None:
        if not noise_levels:
            raise PatchMosaicError("there must be a noise level to show", got="none")
        self.noise_levels, self.drawn, self.title = tuple(noise_levels), drawn, title
        self.entropy_share, self.effective = entropy_share, effective

    @classmethod
    def from_provenances(
        cls, provenances: Sequence[Provenance], noise_levels: Sequence[float], sample: int = 0, *, title: str = ""
    ) -> BeliefMapsDisplay:
        """One sample of a batch along its trajectory.

        Raises:
            PatchMosaicError: there are none, or not one noise level for each.
        """
        if not provenances or len(provenances) != len(noise_levels):
            raise PatchMosaicError(
                "there must be a noise level for each step of the trajectory",
                got=f"{len(noise_levels)} levels and {len(provenances)} steps",
            )
        shares = torch.stack([provenance.entropy_share[sample] for provenance in provenances])
        effective = torch.stack([provenance.effective_patches[sample] for provenance in provenances])
        drawn = torch.stack([provenance.x0_hat[sample].cpu() for provenance in provenances])
        return cls(noise_levels, drawn, shares, effective, title)

    @property
    def size(self) -> tuple[float, float]:
        tall = 3 * self._cell * self._aspect + 2 * _GAP
        return _LABELS + len(self.noise_levels) * (self._cell + _GAP) + _SCALES, _HEADING + _LINE + tall + _EDGE

    @property
    def alt(self) -> str:
        each = "; ".join(
            f"{_number(level)}: {signed(float(share.mean()))} and {_number(float(effective.quantile(0.5)))}"
            for level, share, effective in zip(self.noise_levels, self.entropy_share, self.effective, strict=True)
        )
        return (
            "Maps of a drawing as it forms, of the entropy of each pixel's belief and of the effective number of patches. At "
            f"each noise level, mean entropy as a share of the largest possible, and median number of patches: {each}."
        )

    @property
    def _aspect(self) -> float:
        return self.drawn.shape[2] / self.drawn.shape[3]

    @property
    def _cell(self) -> float:
        return min(_LARGEST, (PAGE - _LABELS - _SCALES) / len(self.noise_levels) - _GAP)

    def _compose(self, ax: Axes, theme: Theme) -> None:
        from matplotlib.colors import LogNorm, Normalize

        width, _ = self.size
        if self.title:
            words = fitted(self.title, width - 2 * _EDGE, TITLE)
            ax.text(_EDGE, 0.24, words, fontsize=TITLE, color=theme.ink, weight="bold", va="bottom")
        top = _HEADING + _LINE
        ax.text(_LABELS - 0.1, top - 0.05, "noise level", fontsize=SMALL, color=theme.muted, ha="right", va="bottom")
        for i, level in enumerate(self.noise_levels):
            middle = self._left(i) + self._cell / 2
            ax.text(middle, top - 0.05, _number(level), fontsize=SMALL, color=theme.muted, ha="center", va="bottom")
        most = max(float(self.effective.max()), 10.0)
        rows: list[tuple[Any, Any, str]] = [
            (to_pixels(self.drawn), None, "$\\hat{x}_0$"),
            (self.entropy_share.numpy(), Normalize(0, 1), "how undecided:\nentropy / ln n"),
            (self.effective.numpy(), LogNorm(1, most), "patches that\nare averaged"),
        ]
        for images, norm, name in rows:
            middle = top + self._cell * self._aspect / 2
            ax.text(_LABELS - 0.1, middle, name, fontsize=BODY, color=theme.ink, ha="right", va="center")
            for i, image in enumerate(images):
                Laid(image, self._left(i), top, self._cell).draw(ax, "gray" if norm is None else COLOURS, norm)
            if norm is not None:
                self._scale(ax, top, norm, theme)
            top += self._cell * self._aspect + _GAP

    def _left(self, i: int) -> float:
        return _LABELS + i * (self._cell + _GAP)

    def _scale(self, ax: Axes, top: float, norm: Any, theme: Theme) -> None:
        """The bar of colours at the right, with a few of their numbers."""
        left, height = self._left(len(self.noise_levels)) + 0.03, self._cell * self._aspect
        bar = np.asarray(norm.inverse(np.linspace(1, 0, 64)))[:, None]
        extent = (left, left + 0.09, top + height, top)
        ax.imshow(bar, cmap=COLOURS, norm=norm, extent=extent, aspect="auto")
        powers = 10.0 ** np.arange(0, np.log10(norm.vmax) + 1e-9)
        ticks = [0.0, 0.5, 1.0] if norm.vmin == 0 else powers[:: 1 + len(powers) // 5].tolist()
        for value in ticks:
            y = top + height * (1 - float(norm(value)))
            ax.text(left + 0.13, y, _number(value), fontsize=SMALL - 0.5, color=theme.muted, va="center")


def _number(value: float) -> str:
    """Few digits: 0.078, 1.2, 80, 10,000."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
