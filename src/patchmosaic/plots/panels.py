"""Panels: a picture made of small equal plots, in rows."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.display import Display
from patchmosaic.plots.style import PAGE, SMALL, Theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

ACROSS = 4  # panels a row, at most


class PanelsDisplay(Display):
    """Base of the pictures that show one panel for each of `count` results.

    Attributes:
        panel_height: inches.
        panels_: the axes of the panels, after `plot`.
    """

    count: int
    panel_height: float

    @abstractmethod
    def _draw_panel(self, ax: Axes, i: int, theme: Theme) -> None:
        """Draw result `i`."""

    @property
    def across(self) -> int:
        """Panels a row."""
        return min(self.count, ACROSS)

    @property
    def size(self) -> tuple[float, float]:
        return max(0.5, self.across / ACROSS) * PAGE, 0.15 + self.panel_height * math.ceil(self.count / self.across)

    def _new_axes(self, theme: Theme) -> Axes:
        from matplotlib.figure import Figure

        ax = Figure(figsize=self.size, facecolor=theme.paper, layout="constrained").add_subplot()
        ax.set_axis_off()
        return ax

    def _draw(self, ax: Axes, theme: Theme) -> None:
        """On an axes of its own or on one that is given: panels fill the place of `ax`, whose own frame is not shown."""
        ax.set_axis_off()
        spec = ax.get_subplotspec()
        if spec is None:
            raise PatchMosaicError("panels need an axes made by subplots", got=type(ax).__name__)
        grid = spec.subgridspec(math.ceil(self.count / self.across), self.across)
        figure = ax.figure.figure
        self.panels_: list[Axes] = []
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
