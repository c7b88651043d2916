"""Locality scales of several networks, a panel each, beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchmosaic.calibration import Calibration
from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.plots.panels import PanelsDisplay, outside_legend
from patchmosaic.plots.scale import DASHES, set_size_ticks, step_edges
from patchmosaic.plots.style import BODY, Theme, colours, dress, folded, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class ScalePanel:
    """One network: what was calibrated for it, and what was published of its like."""

    title: str
    calibrations: Sequence[Calibration]
    published: LocalityScale | None = None


class ScalesDisplay(PanelsDisplay):
    """Patch size against noise level, a panel a network: medians as steps, the middle half of the seeds shaded.

    Raises:
        PatchMosaicError: nothing to show.
    """

    panel_height = 1.9

    def __init__(self, panels: Sequence[ScalePanel]) -> None:
        if not panels or not all(panel.calibrations for panel in panels):
            raise PatchMosaicError("there must be a calibration in each panel", got=len(panels))
        self.panels, self.count = tuple(panels), len(panels)

    @property
    def size(self) -> tuple[float, float]:
        width, height = super().size
        return width, height + 0.25

    @property
    def alt(self) -> str:
        def ends(scale: LocalityScale) -> str:
            return f"{scale.patch_sizes[0]} to {scale.patch_sizes[-1]}"

        each = "; ".join(
            f"{panel.title}: "
            + ", ".join(f"{calibration.machine} {ends(calibration.scale)}" for calibration in panel.calibrations)
            + ("" if panel.published is None else f", published {ends(panel.published)}")
            for panel in self.panels
        )
        return f"Patch size in pixels, at the lowest and at the highest noise level, a panel a network. {each}."

    def _draw(self, ax: Axes, theme: Theme) -> None:
        super()._draw(ax, theme)
        lines = {label: line for panel in self.panels_ for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        outside_legend(ax, lines, theme)

    def _draw_panel(self, ax: Axes, i: int, theme: Theme) -> None:
        panel = self.panels[i]
        palette = colours(calibration.machine for calibration in panel.calibrations)
        highest: list[float] = []
        for dashes, calibration in zip(DASHES, panel.calibrations, strict=False):
            colour, edges = palette[calibration.machine], step_edges(calibration.noise_levels)
            lower, upper = calibration.spread()
            ax.fill_between(edges, [*lower, lower[-1]], [*upper, upper[-1]], step="post", color=colour, alpha=0.13, linewidth=0)
            sizes = calibration.scale.patch_sizes
            ax.stairs(sizes, edges, baseline=None, color=colour, linewidth=1.7, linestyle=dashes, label=calibration.machine)
            highest += [*sizes, *upper]
        if panel.published is not None:
            edges = step_edges(panel.published.noise_levels)
            sizes = panel.published.patch_sizes
            ax.stairs(sizes, edges, baseline=None, color=theme.ink, linewidth=0.8, label="published")
            highest += sizes
        ax.set_xscale("log")
        plain_log(ax.xaxis)
        ylabel = "patch size, pixels" if i % self.across == 0 else ""
        dress(ax, theme, title=folded(panel.title, 30), xlabel="noise level σ/α", ylabel=ylabel, grid="y")
        ax.title.set_fontsize(BODY)
        set_size_ticks(ax, max(highest))
