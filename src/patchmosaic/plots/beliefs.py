"""Belief dynamics: how sure the pixels are of their sources while an image forms, a line a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from patchmosaic.analysis.beliefs import BeliefDynamics
from patchmosaic.plots.panels import PanelsDisplay
from patchmosaic.plots.style import PAGE, SMALL, Theme, colours, dress, ordered, plain, plain_log, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

XLABEL = "noise level σ/α   (an image forms from right to left)"


class BeliefDynamicsDisplay(PanelsDisplay):
    """Entropy as a share of ln |D|, decided pixels, and the effective number of images, against the noise level.

    Lines are means over seeds, bands one standard deviation of the seeds, dots the noise level where a machine starts to copy.
    """

    count, across, panel_height = 3, 3, 2.4

    def __init__(self, dynamics: BeliefDynamics) -> None:
        self.dynamics = dynamics
        self.names = ordered(dynamics.machines)

    @classmethod
    def from_beliefs(cls, dynamics: BeliefDynamics) -> BeliefDynamicsDisplay:
        """All machines of a result."""
        return cls(dynamics)

    @property
    def size(self) -> tuple[float, float]:
        return PAGE, self.panel_height

    @property
    def alt(self) -> str:
        told = []
        for name in self.names:
            level = self.dynamics.onset(name)
            share, _ = self.dynamics.machines[name].over_seeds("entropy_share")
            known = (
                "never has half of its pixels decided"
                if level is None
                else f"has half of its pixels decided below noise level {level:.2g}"
            )
            told.append(
                f"{name} {known}, entropy share {signed(float(share[0]))} at first and {signed(float(share[-1]))} at last"
            )
        return f"Belief of the pixels against noise level, {len(self.dynamics.seeds)} seeds: {'; '.join(told)}."

    def _draw_panel(self, ax: Axes, i: int, theme: Theme) -> None:
        (self._draw_entropy, self._draw_decided, self._draw_images)[i](ax, theme)
        ax.set_xscale("log")
        plain_log(ax.xaxis)

    def _draw_entropy(self, ax: Axes, theme: Theme) -> None:
        self._lines(ax, "entropy_share")
        ax.set_ylim(0, 1.03)
        dress(ax, theme, title="How open the belief is", ylabel="entropy / ln |D|", grid="y")
        ax.legend(fontsize=SMALL, frameon=False, labelcolor=theme.ink, handlelength=1.4, loc="lower right")

    def _draw_decided(self, ax: Axes, theme: Theme) -> None:
        self._lines(ax, "decided")
        palette = colours(self.names)
        for name in self.names:
            if (level := self.dynamics.onset(name)) is not None:
                ax.plot([level], [0.5], "o", color=palette[name], markersize=5, markeredgecolor=theme.paper, zorder=4)
        ax.axhline(0.5, color=theme.muted, linewidth=0.7, linestyle=(0, (3, 2)), zorder=1)
        ax.set_ylim(0, 1.03)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        dress(
            ax, theme, title="Pixels that know their source", xlabel=XLABEL, ylabel="pixels with entropy below ln 2", grid="y"
        )

    def _draw_images(self, ax: Axes, theme: Theme) -> None:
        self._lines(ax, "ln_effective_images", logarithm=True)
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.9)
        plain_log(ax.yaxis)
        dress(ax, theme, title="How many images it weighs", ylabel="effective number of images", grid="y")

    def _lines(self, ax: Axes, quantity: str, *, logarithm: bool = False) -> None:
        palette, levels = colours(self.names), self.dynamics.noise_levels
        for name in self.names:
            mean, spread = (part.numpy() for part in self.dynamics.machines[name].over_seeds(quantity))
            low, high, middle = mean - spread, np.minimum(mean + spread, mean.max()), mean
            if logarithm:
                low, high, middle = (np.exp(values) for values in (low, high, mean))
            ax.fill_between(levels, low, high, color=palette[name], alpha=0.14, linewidth=0)
            ax.plot(levels, middle, color=palette[name], linewidth=1.6, label=plain(name))
