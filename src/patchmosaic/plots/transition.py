"""The memorising transition: share of copies and error, as maps of patch size against noise level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.panels import DividedDisplay, outside_legend
from patchmosaic.plots.scale import step_edges
from patchmosaic.plots.style import BODY, PAGE, SMALL, Theme, dress, folded, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Map = Mapping[int, Mapping[float, float]]  # patch size -> noise level -> value
_ROW, _FRAME = 2.0, 0.45


@dataclass(frozen=True)
class TransitionPanel:
    """One machine: its title, share of copies, error against the network, and (noise level, calibrated patch size)."""

    title: str
    copies: Map
    errors: Map
    scale: Sequence[tuple[float, int]]


class TransitionDisplay(DividedDisplay):
    """Two maps a machine, copies at the left and errors at the right, the calibrated scale drawn over both.

    Raises:
        PatchMosaicError: nothing to show.
    """

    def __init__(self, panels: Sequence[TransitionPanel]) -> None:
        if not panels:
            raise PatchMosaicError("there must be a machine to show", got="none")
        self.panels = tuple(panels)

    @property
    def size(self) -> tuple[float, float]:
        return PAGE, _FRAME + _ROW * len(self.panels)

    @property
    def alt(self) -> str:
        def told(panel: TransitionPanel) -> str:
            lowest = min(level for level, _ in panel.scale)
            rates = ", ".join(f"{rates[lowest]:.0%} at P = {size}" for size, rates in sorted(panel.copies.items()))
            return f"{panel.title}: copies at the lowest noise level {rates}"

        return f"Maps of patch size against noise level: share of copies, and error. {'; '.join(map(told, self.panels))}."

    def _draw(self, ax: Axes, theme: Theme) -> None:
        from matplotlib.colors import LogNorm, Normalize

        grid = self._divided(ax, len(self.panels), 2)
        figure = ax.figure.figure
        everywhere = [value for panel in self.panels for row in panel.errors.values() for value in row.values() if value > 0]
        norms: tuple[Any, Any] = (Normalize(0, 1), LogNorm(min(everywhere, default=0.1), max(everywhere, default=1.0)))
        self.panels_ = []
        for i, panel in enumerate(self.panels):
            for k, (values, name) in enumerate(
                [(panel.copies, "share of copies"), (panel.errors, "error against the network")]
            ):
                place = figure.add_subplot(grid[i, k])
                drawn = self._draw_map(place, values, panel, norms[k], theme)
                bar = figure.colorbar(drawn, ax=place, pad=0.02, aspect=14)
                bar.ax.tick_params(which="both", labelsize=SMALL, colors=theme.muted, length=2)
                bar.outline.set_visible(False)
                bar.set_label(name, fontsize=SMALL, color=theme.muted)
                if k == 1:
                    plain_log(bar.ax.yaxis, (1.0, 3.0))
                last = i + 1 == len(self.panels)
                title = folded(panel.title, 40, lines=1) if k == 0 else ""
                labels = {"xlabel": "noise level σ/α" if last else "", "ylabel": "patch size, pixels" if k == 0 else ""}
                dress(place, theme, title=title, **labels)
                place.title.set_fontsize(BODY)
                self.panels_.append(place)
        lines = dict(zip(*reversed(self.panels_[0].get_legend_handles_labels()), strict=True))
        outside_legend(ax, lines, theme)

    def _draw_map(self, ax: Axes, values: Map, panel: TransitionPanel, norm: Any, theme: Theme) -> Any:
        sizes, levels = sorted(values), sorted(next(iter(values.values())))
        table = np.array([[values[size][level] for level in levels] for size in sizes])
        edges = step_edges(levels)
        drawn = ax.pcolormesh(edges, np.arange(len(sizes) + 1) - 0.5, table, norm=norm, cmap="viridis", rasterized=True)
        # Patch sizes are equally spaced lines of the map: the calibrated scale is drawn between them.
        heights = np.interp([size for _, size in panel.scale], sizes, range(len(sizes)))
        ax.stairs(heights, edges, baseline=None, color=theme.paper, linewidth=3.0)
        ax.stairs(heights, edges, baseline=None, color="#c95d00", linewidth=1.6, label="patch size calibrated for the network")
        ax.set_xscale("log")
        plain_log(ax.xaxis)
        ax.set_yticks(range(len(sizes)), [str(size) for size in sizes])
        return drawn
