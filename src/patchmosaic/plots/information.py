"""What a window tells of its source, against the noise level: a panel a machine, a line a patch size.

Where a line reaches ln |D| the window tells its source apart from all others, and the machine copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from patchmosaic.analysis.information import Information
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.panels import PanelsDisplay, legend_beside
from patchmosaic.plots.style import COLUMN, PAGE, SMALL, Theme, colours, dress, plain, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES = (0, (3, 2))


class InformationDisplay(PanelsDisplay):
    """Information in nats, with ln |D| and the onset of copying.

    Args:
        measured: one a panel.

    Raises:
        PatchMosaicError: nothing to show.
    """

    panel_height = 2.5

    def __init__(self, measured: Sequence[Information]) -> None:
        if not measured:
            raise PatchMosaicError("there must be information to show", got="none")
        self.measured, self.count = tuple(measured), len(measured)

    @property
    def across(self) -> int:
        return min(self.count, 2)

    @property
    def size(self) -> tuple[float, float]:
        rows = -(-self.count // self.across)
        return (COLUMN if self.count == 1 else PAGE), rows * self.panel_height

    @property
    def alt(self) -> str:
        told = []
        for one in self.measured:
            onsets = (f"{size} below {level:.2g}" for size, level in one.onsets().items() if level is not None)
            most = float(one.ln_candidates.max())
            told.append(f"{one.machine}, ln |D| {most:.1f} nats, source known with patch size {', '.join(onsets) or 'none'}")
        return f"Information of a window about its source against noise level: {'; '.join(told)}."

    def _draw_panel(self, ax: Axes, i: int, theme: Theme) -> None:
        one = self.measured[i]
        levels, most = np.array(one.noise_levels), float(one.ln_candidates.max())
        onsets, shades = one.onsets(), self._shades(i, theme)
        for k, (size, shade) in enumerate(zip(one.patch_sizes, shades, strict=True)):
            values = one.information[:, k].numpy()
            label = "whole image" if size >= one.covering else f"{size} × {size}"
            ax.plot(levels, values, color=shade, linewidth=1.6, label=label)
            if (level := onsets[size]) is not None:
                height = np.interp(np.log(level), np.log(levels), values)
                ax.plot([level], [height], "o", color=shade, markersize=5, markeredgecolor=theme.paper, zorder=4)
        ax.plot([], [], "o", color=theme.muted, markersize=5, markeredgecolor=theme.paper, label="known\nbelow")
        self._draw_most(ax, one, theme)
        ax.set_xscale("log")
        plain_log(ax.xaxis)
        ax.set_ylim(0, most * 1.13)
        first = i % self.across == 0
        dress(
            ax,
            theme,
            title=f"{plain(one.machine)}: what a window tells",
            xlabel="noise level σ/α",
            ylabel="information on the source, nats" if first else "",
            grid="y",
        )
        legend_beside(ax, "window", theme)

    def _draw_most(self, ax: Axes, one: Information, theme: Theme) -> None:
        """ln |D|: of all windows, or where large ones have fewer patches to match, of the smallest and of the largest."""
        most = one.ln_candidates[0].tolist()
        told = {0: ""} if most[0] - most[-1] < 0.05 else {0: ", smallest window", -1: ", largest window"}
        for place, which in told.items():
            ax.axhline(most[place], color=theme.ink, linewidth=0.8, linestyle=DASHES)
            ax.annotate(
                f"ln |D| = {most[place]:.1f}{which}",
                (1, most[place]),
                xycoords=("axes fraction", "data"),
                xytext=(0, 2),
                textcoords="offset points",
                fontsize=SMALL,
                color=theme.ink,
                ha="right",
                bbox={"facecolor": theme.paper, "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
            )

    def _shades(self, i: int, theme: Theme) -> list[tuple[float, float, float]]:
        """From pale for the smallest window to the machine's own colour, darkened, for the largest."""
        from matplotlib.colors import to_rgb

        one = self.measured[i]
        colour, paper, ink = (np.array(to_rgb(c)) for c in (colours([one.machine])[one.machine], theme.paper, theme.ink))
        mixed = []
        for place in np.linspace(-0.6, 0.55, len(one.patch_sizes)):
            other = paper if place < 0 else ink
            red, green, blue = (1 - abs(place)) * colour + abs(place) * other
            mixed.append((float(red), float(green), float(blue)))
        return mixed
