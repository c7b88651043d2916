"""Locality scales: the patch size at which a machine is most like the network, against the noise level.

The median over seeds as steps, with the middle half of the seeds shaded. Generation runs from high noise to low.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from patchmosaic.calibration import Calibration
from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import LARGEST_NOISE_LEVEL
from patchmosaic.plots.display import Display
from patchmosaic.plots.style import COLUMN, SMALL, Theme, colours, dress, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES = ("solid", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1, 1.5)))


class LocalityScaleDisplay(Display):
    """Steps of patch size against noise level.

    Args:
        calibrations: one a curve.
        receptive_field: of the network, in pixels, drawn as a line; None leaves it out.
    """

    def __init__(self, calibrations: Sequence[Calibration], receptive_field: int | None = None) -> None:
        self.calibrations, self.receptive_field = tuple(calibrations), receptive_field

    @classmethod
    def from_calibrations(
        cls, calibrations: Sequence[Calibration], *, receptive_field: int | None = None
    ) -> LocalityScaleDisplay:
        """One curve for each calibration.

        Raises:
            PatchMosaicError: there is none.
        """
        if not calibrations:
            raise PatchMosaicError("there is no calibration to show", got="none", hint="`patchmosaic.calibrate` makes one.")
        return cls(calibrations, receptive_field)

    @property
    def size(self) -> tuple[float, float]:
        return COLUMN, 2.7

    @property
    def alt(self) -> str:
        curves = "; ".join(
            f"{c.machine}, {c.scale.patch_sizes[0]} pixels at the lowest noise and {c.scale.patch_sizes[-1]} at the highest"
            for c in self.calibrations
        )
        field = "" if self.receptive_field is None else f" The network's receptive field is {self.receptive_field} pixels."
        return f"Best patch size against noise level: {curves}.{field}"

    def _draw(self, ax: Axes, theme: Theme) -> None:
        palette = colours(c.machine for c in self.calibrations)
        for i, calibration in enumerate(self.calibrations):
            colour, levels = palette[calibration.machine], _drawable(calibration.noise_levels)
            edges = step_edges(levels)
            lower, upper = calibration.spread()
            ax.fill_between(edges, [*lower, lower[-1]], [*upper, upper[-1]], step="post", color=colour, alpha=0.16, linewidth=0)
            ax.stairs(
                calibration.scale.patch_sizes,
                step_edges(_drawable(calibration.scale.noise_levels)),
                baseline=None,
                color=colour,
                linewidth=2.0,
                linestyle=DASHES[i % len(DASHES)],
                label=f"{calibration.machine}  ({len(calibration.cosine)} seeds)",
            )
        if self.receptive_field is not None:
            ax.axhline(self.receptive_field, color=theme.muted, linewidth=0.9, linestyle=(0, (3, 2)))
            ax.annotate(
                f"the network can see {self.receptive_field} pixels",
                (0.02, self.receptive_field),
                xycoords=("axes fraction", "data"),
                xytext=(0, 2.5),
                textcoords="offset points",
                fontsize=SMALL,
                color=theme.muted,
            )
        ax.set_xscale("log")
        plain_log(ax.xaxis)
        dress(
            ax,
            theme,
            title="How far a pixel looks",
            xlabel="noise level σ/α   (an image forms from right to left)",
            ylabel="patch size, pixels",
            grid="y",
        )
        self._set_ticks(ax)
        legend = ax.legend(
            loc="upper left" if self.receptive_field is None else "center left",
            fontsize=SMALL,
            frameon=False,
            labelcolor=theme.ink,
            title="line: median; shaded: middle half of seeds",
            handlelength=3.2,
            title_fontsize=SMALL,
            alignment="left",
        )
        legend.get_title().set_color(theme.muted)

    def _set_ticks(self, ax: Axes) -> None:
        highest = max(*(max(c.scale.patch_sizes) for c in self.calibrations), *(max(c.spread()[1]) for c in self.calibrations))
        set_size_ticks(ax, max(highest, self.receptive_field or 0))


def _drawable(noise_levels: Sequence[float]) -> list[float]:
    """Levels for a log axis: an infinite one (alpha_t = 0) is drawn as far beyond the last as that is beyond its neighbour."""
    levels = list(noise_levels)
    if len(levels) > 2 and levels[-1] >= LARGEST_NOISE_LEVEL:
        levels[-1] = levels[-2] ** 2 / levels[-3]
    return levels


def set_size_ticks(ax: Axes, top: int | float) -> None:
    """Odd patch sizes, a few of them, up to `top`."""
    stride = 2 * max(1, math.ceil(top / 2 / 8))
    ax.set_yticks(range(1, int(top) + 2, stride))
    ax.set_ylim(0, top * 1.1 + 0.5)


def step_edges(levels: Sequence[float]) -> list[float]:
    """Where one patch size gives way to the next: half way on a log scale, as `LocalityScale` decides."""
    if len(levels) == 1:
        return [levels[0] / 2, levels[0] * 2]
    inner = [math.sqrt(low * high) for low, high in pairwise(levels)]
    return [levels[0] ** 2 / inner[0], *inner, levels[-1] ** 2 / inner[-1]]
