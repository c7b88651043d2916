"""How far a network looks, beside how large the patches are that explain it, at each noise level.

The two are measured in different ways: one by differentiating the network, the other by comparing machines with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from patchmosaic.analysis.receptive_field import ReceptiveFields
from patchmosaic.calibration import Calibration
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.scale import LocalityScaleDisplay
from patchmosaic.plots.style import COLUMN, SMALL, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class WidthAndScaleDisplay(LocalityScaleDisplay):
    """Locality scales as `LocalityScaleDisplay` draws them, and over them the width and the spread of a network's gradient.

    Args:
        fields: of the network that was calibrated.
        calibrations: one a curve.
        receptive_field: of the network, in pixels, drawn as a line; None leaves it out.

    Raises:
        PatchMosaicError: there is no calibration.
    """

    def __init__(
        self, fields: ReceptiveFields, calibrations: Sequence[Calibration], receptive_field: int | None = None
    ) -> None:
        if not calibrations:
            raise PatchMosaicError("there is no calibration to show", got="none", hint="`patchmosaic.calibrate` makes one.")
        super().__init__(calibrations, receptive_field)
        self.fields = fields

    @property
    def size(self) -> tuple[float, float]:
        return COLUMN, 3.3

    @property
    def alt(self) -> str:
        widths, spreads = self.fields.widths(), self.fields.spreads()
        return (
            f"{super().alt} 90% of the network's gradient lies within {widths[0]} pixels at the lowest noise and {widths[-1]} "
            f"at the highest; its spread is {spreads[0]:.1f} and {spreads[-1]:.1f} pixels."
        )

    def _draw(self, ax: Axes, theme: Theme) -> None:
        drawn = [i for i, level in enumerate(self.fields.noise_levels) if math.isfinite(level)]
        levels = [self.fields.noise_levels[i] for i in drawn]
        widths, spreads = self.fields.widths(), self.fields.spreads()
        for values, dash, marker, label in (
            (widths, "solid", "o", "holds 90% of the gradient"),
            (spreads, "dotted", "", "spread of the gradient"),
        ):
            shown = [values[i] for i in drawn]
            ax.plot(
                levels, shown, color=theme.ink, linestyle=dash, marker=marker, label=label, linewidth=1, markersize=3, zorder=4
            )
        super()._draw(ax, theme)
        ax.set_ylabel("pixels a side")
        ax.set_ylim(top=max(ax.get_ylim()[1], 1.1 * max(*widths, *spreads)))
        # Curves fill the plot from the lower left to the upper right, a receptive field the rest: the legend goes below.
        legend = ax.legend(
            loc="upper left",
            bbox_to_anchor=(-0.1, -0.2),
            borderaxespad=0,
            title="steps: calibrated patch size, median of seeds; shaded: middle half",
            title_fontsize=SMALL,
            alignment="left",
            ncols=2,
            fontsize=SMALL,
            frameon=False,
            labelcolor=theme.ink,
            handlelength=2.6,
        )
        legend.get_title().set_color(theme.muted)
