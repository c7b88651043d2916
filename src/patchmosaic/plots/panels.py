"""Panels: a picture made of several plots, such as small equal ones in rows."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.display import Display
from patchmosaic.plots.style import PAGE, SMALL, Theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.gridspec import GridSpecBase

ACROSS = 4  # panels a row, at most


class DividedDisplay(Display):
    """Base of the pictures that fill the place of their axes with several, and show no frame of its own.

    Attributes:
        panels_: the axes of the panels, after `plot`.
    """

    panels_: list[Axes]

    def _new_axes(self, theme: Theme) -> Axes:
        from matplotlib.figure import Figure

        ax = Figure(figsize=self.size, facecolor=theme.paper, layout="constrained").add_subplot()
        ax.set_axis_off()
        return ax

    def _divided(self, ax: Axes, rows: int, columns: int, width_ratios: Sequence[float] | None = None) -> GridSpecBase:
        """The places of the panels.

        Raises:
            PatchMosaicError: an axes that is not one of a grid.
        """
        ax.set_axis_off()
        spec = ax.get_subplotspec()
        if spec is None:
            raise PatchMosaicError("panels need an axes made by subplots", got=type(ax).__name__)
        return spec.subgridspec(rows, columns, width_ratios=width_ratios)


class PanelsDisplay(DividedDisplay):
    """Base of the pictures that show one panel for each of `count` results.

    Attributes:
        panel_height: inches.
    """

    count: int
    panel_height: float

    @abstractmethod
    def _draw_panel(self, ax: Axes, i: int, theme: Theme) -> None:
        """Draw result `i`."""

    @property
    def across(self) -> int:
        """Panels a row; of several rows all are about full."""
        return math.ceil(self.count / math.ceil(self.count / ACROSS))

    @property
    def size(self) -> tuple[float, float]:
        return max(0.5, self.across / ACROSS) * PAGE, 0.15 + self.panel_height * math.ceil(self.count / self.across)

    def _draw(self, ax: Axes, theme: Theme) -> None:
        grid = self._divided(ax, math.ceil(self.count / self.across), self.across)
        figure = ax.figure.figure
        self.panels_ = []
        for i in range(self.count):
            panel = figure.add_subplot(grid[i // self.across, i % self.across])
            self._draw_panel(panel, i, theme)
            self.panels_.append(panel)


def outside_legend(ax: Axes, lines: Mapping[str, Artist], theme: Theme, *, columns: int = 5) -> None:
    """One legend for all panels, label -> line, below those of a figure that lays itself out."""
    ax.figure.figure.legend(
        list(lines.values()),
        list(lines),
        loc="outside lower center",
        ncols=min(columns, len(lines)),
        fontsize=SMALL,
        frameon=False,
        labelcolor=theme.ink,
        handlelength=1.8,
        columnspacing=1.2,
    )


def legend_beside(ax: Axes, title: str, theme: Theme, *, handlelength: float = 1.2) -> None:
    """A titled legend to the right of a plot."""
    legend = ax.legend(
        fontsize=SMALL,
        frameon=False,
        labelcolor=theme.ink,
        handlelength=handlelength,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        title=title,
        title_fontsize=SMALL,
        alignment="left",
    )
    legend.get_title().set_color(theme.muted)
