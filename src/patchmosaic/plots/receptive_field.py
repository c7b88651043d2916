"""Heat maps of where a network looks, one for each noise level, with the calibrated patches drawn over them.

Each map is a share of its own sum and all have one logarithmic colour scale: what is compared is how far, not how strongly.
Only the middle of the image is shown, as much of it as is seen at some level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from patchmosaic.analysis.receptive_field import ReceptiveFields
from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.plots.canvas import CanvasDisplay, Laid
from patchmosaic.plots.style import COLUMN, PAGE, SMALL, TITLE, Theme, colours, fitted, ordered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, LogNorm

SHOWN = 7  # maps in the row, unless levels are chosen
FAINTEST = 1e-3  # the share that is no longer told from none
MARGIN = 2  # pixels shown round what is seen
_DASHES: tuple[tuple[float, tuple[float, ...]], ...] = ((0, (1, 0)), (0, (2.5, 1.2)), (0, (1, 1)))  # the first unbroken
# Inches: the rim, the title's line, two lines below a map, the legend's, between maps, the colour bar with its words.
_EDGE, _HEADING, _CAPTION, _LEGEND, _GAP, _SCALE, _LARGEST = 0.08, 0.36, 0.31, 0.2, 0.08, 0.72, 1.3


class ReceptiveFieldDisplay(CanvasDisplay):
    """A row of heat maps, noise growing from left to right.

    Args:
        fields: of one network.
        scales: by machine, the calibrated scales, whose patch at the noise level of each map is drawn as a square.
        levels: which of the fields' levels, counted from the lowest noise; by default 7 from first to last.

    Raises:
        PatchMosaicError: no level, or one that is not there.
    """

    def __init__(
        self, fields: ReceptiveFields, scales: Mapping[str, LocalityScale] | None = None, levels: Sequence[int] | None = None
    ) -> None:
        known = len(fields.noise_levels)
        if levels is None:
            levels = sorted(set(torch.linspace(0, known - 1, min(SHOWN, known)).round().int().tolist()))
        if not levels or not set(levels) <= set(range(known)):
            raise PatchMosaicError(f"levels are numbers from 0 to {known - 1}", got=tuple(levels))
        given = scales or {}
        self.fields, self.levels, self.scales = fields, tuple(levels), {name: given[name] for name in ordered(given)}

    @classmethod
    def from_fields(
        cls, fields: ReceptiveFields, *, scales: Mapping[str, LocalityScale] | None = None, levels: Sequence[int] | None = None
    ) -> ReceptiveFieldDisplay:
        """The maps of `fields`. Arguments and errors as for the class."""
        return cls(fields, scales, levels)

    @property
    def size(self) -> tuple[float, float]:
        rows, columns = self._window()
        tall = self._cell * (rows.stop - rows.start) / (columns.stop - columns.start)
        width = 2 * _EDGE + len(self.levels) * (self._cell + _GAP) + _SCALE
        return max(width, COLUMN), _HEADING + tall + _CAPTION + (_LEGEND if self.scales else 0) + _EDGE

    @property
    def alt(self) -> str:
        widths = self.fields.widths()
        maps = "; ".join(
            f"noise level {self.fields.noise_levels[i]:.2g}: 90% within {widths[i]} pixels"
            + "".join(f", {name} patch {scale(self.fields.noise_levels[i])}" for name, scale in self.scales.items())
            for i in self.levels
        )
        return f"Mean absolute gradient of a pixel of the {self._answer} by the pixels of the noisy image: {maps}."

    @property
    def _answer(self) -> str:
        return {"x0": "denoised image", "eps": "estimated noise"}[self.fields.output]

    @property
    def _cell(self) -> float:
        return min(_LARGEST, (PAGE - 2 * _EDGE - _SCALE) / len(self.levels) - _GAP)

    def _window(self) -> tuple[slice, slice]:
        """The rows and columns that are shown."""
        reach = max(self.fields.widths(1.0)) // 2 + MARGIN
        (row, column), (height, width) = self.fields.pixel, self.fields.heat.shape[1:]
        return slice(max(row - reach, 0), min(row + reach + 1, height)), slice(
            max(column - reach, 0), min(column + reach + 1, width)
        )

    def _compose(self, ax: Axes, theme: Theme) -> None:
        from matplotlib.colors import LinearSegmentedColormap, LogNorm

        shares, (rows, columns) = self.fields.shares().numpy(), self._window()
        seen = LinearSegmentedColormap.from_list("seen", [theme.paper, theme.ink])
        greys = seen.with_extremes(under=theme.paper, bad=theme.paper)
        norm = LogNorm(FAINTEST, max(float(shares[list(self.levels)].max()), 10 * FAINTEST))
        title = fitted(f"Where a pixel of the {self._answer} looks", self.size[0] - 2 * _EDGE, TITLE)
        ax.text(_EDGE, _HEADING - 0.12, title, fontsize=TITLE, color=theme.ink)
        for i, level in enumerate(self.levels):
            left = _EDGE + i * (self._cell + _GAP)
            laid = Laid(greys(norm(shares[level, rows, columns]), bytes=True), left, _HEADING, self._cell).draw(ax)
            self._draw_patches(ax, laid, level, theme)
            width = self.fields.widths()[level]
            words = f"σ/α = {self.fields.noise_levels[level]:.2g}\n90% in {width} × {width}"
            below = _HEADING + laid.height + 0.05
            ax.text(left + self._cell / 2, below, words, fontsize=SMALL, color=theme.muted, ha="center", va="top")
        self._draw_scale(ax, laid, greys, norm, theme)
        self._draw_legend(ax, theme)

    def _draw_patches(self, ax: Axes, laid: Laid, level: int, theme: Theme) -> None:
        from matplotlib.patches import Rectangle

        (rows, columns), (row, column) = self._window(), self.fields.pixel
        border = Rectangle((laid.left, laid.top), laid.width, laid.height, fill=False, edgecolor=theme.rule, linewidth=0.8)
        ax.add_patch(border)
        palette = colours(self.scales)
        for dash, (name, scale) in zip(_DASHES, self.scales.items(), strict=False):
            side = scale(self.fields.noise_levels[level])
            place = row - rows.start, column - columns.start
            laid.frame(ax, *place, side, edgecolor=palette[name], linestyle=dash, linewidth=1.3)

    def _draw_scale(self, ax: Axes, last: Laid, greys: Colormap, norm: LogNorm, theme: Theme) -> None:
        """The bar of greys at the right, a number at each power of ten."""
        left, below = last.left + last.width + 0.12, last.top + last.height
        bar = np.geomspace(float(norm.vmax or 1), FAINTEST, 64)[:, None]
        ax.imshow(bar, cmap=greys, norm=norm, extent=(left, left + 0.09, below, last.top), aspect="auto")
        for power in range(-3, 1):
            if (value := 10.0**power) <= float(norm.vmax or 1):
                y = below - last.height * float(norm(value))
                ax.text(left + 0.13, y, f"{100 * value:g}%", fontsize=SMALL, color=theme.muted, va="center")
        words = ax.text(left + 0.52, last.top + last.height / 2, "share of gradient", fontsize=SMALL, color=theme.muted)
        words.set(rotation=90, ha="center", va="center")

    def _draw_legend(self, ax: Axes, theme: Theme) -> None:
        from matplotlib.lines import Line2D

        if not self.scales:
            return
        palette, (width, height) = colours(self.scales), self.size
        handles = [
            Line2D([], [], color=palette[name], linestyle=dash, linewidth=1.3, label=f"{name} patch, calibrated")
            for dash, name in zip(_DASHES, self.scales, strict=False)
        ]
        ax.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(_EDGE / width, _EDGE / 2 / height),
            borderpad=0,
            borderaxespad=0,
            ncols=len(handles),
            fontsize=SMALL,
            frameon=False,
            labelcolor=theme.ink,
            handlelength=2.4,
        )
