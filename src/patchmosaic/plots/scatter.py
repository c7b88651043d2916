"""Scatter: for each seed, how well the ideal score machine predicts (x) against how well another machine does (y).

A point above the diagonal is a seed that the machine predicts better than memory of whole images does. Kamb & Ganguli 2024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from patchmosaic.comparison import BASELINE, Comparison
from patchmosaic.plots.display import Display
from patchmosaic.plots.style import BODY, COLUMN, SMALL, Theme, colours, dress, known_machines, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ScatterDisplay(Display):
    """One point a seed.

    Args:
        ideal_r: (S,) r of IS.
        machine_r: (S,) r of the machine.
        machine: its name.
        colour: its colour.
    """

    def __init__(
        self, ideal_r: Float64[np.ndarray, " S"], machine_r: Float64[np.ndarray, " S"], machine: str, colour: str
    ) -> None:
        self.ideal_r, self.machine_r, self.machine, self.colour = ideal_r, machine_r, machine, colour

    @classmethod
    def from_comparison(cls, comparison: Comparison, machine: str = "ELS") -> ScatterDisplay:
        """A machine of the comparison against its IS.

        Raises:
            PatchMosaicError: the comparison has no such machine.
        """
        known_machines(comparison, [machine, BASELINE])
        ideal, own = (comparison.per_seed[name]["r"].numpy() for name in (BASELINE, machine))
        return cls(ideal, own, machine, colours(comparison.images)[machine])

    @property
    def size(self) -> tuple[float, float]:
        return COLUMN, 3.2

    @property
    def fraction(self) -> float:
        """The share of seeds above the diagonal."""
        return float((self.machine_r > self.ideal_r).mean())

    @property
    def medians(self) -> tuple[float, float]:
        """(median r of IS, median r of the machine)."""
        return float(np.median(self.ideal_r)), float(np.median(self.machine_r))

    @property
    def alt(self) -> str:
        x, y = self.medians
        return (
            f"Scatter of {len(self.ideal_r)} seeds, r of {BASELINE} across and r of {self.machine} up. {self.machine} is "
            f"larger on {self.fraction:.0%}; medians {signed(x)} and {signed(y)}."
        )

    def _draw(self, ax: Axes, theme: Theme) -> None:
        low = min(0.0, float(np.floor(10 * min(self.ideal_r.min(), self.machine_r.min())) / 10))
        share = 1 - low
        x, y = self.medians
        ax.fill_between([low, 1], [low, 1], 1, color=self.colour, alpha=0.1, linewidth=0)
        ax.plot([low, 1], [low, 1], color=theme.muted, linewidth=0.8)
        ax.plot([x, x], [low, y], color=theme.muted, linewidth=0.7, linestyle=(0, (2, 2)))
        ax.plot([low, x], [y, y], color=theme.muted, linewidth=0.7, linestyle=(0, (2, 2)))
        ax.scatter(
            self.ideal_r,
            self.machine_r,
            s=15,
            color=self.colour,
            alpha=0.75,
            edgecolors=theme.paper,
            linewidths=0.4,
            label="seeds",
        )
        ax.scatter(
            [x], [y], s=48, marker="D", color=theme.ink, edgecolors=theme.paper, linewidths=0.8, zorder=4, label="median"
        )
        ax.annotate(
            f"median r\n{BASELINE} {signed(x)}\n{self.machine} {signed(y)}",
            (x, y),
            xytext=(7, -5) if x < 1 - 0.3 * share else (-7, -5),
            ha="left" if x < 1 - 0.3 * share else "right",
            textcoords="offset points",
            fontsize=SMALL,
            color=theme.ink,
            va="top",
        )
        ax.text(
            low + 0.03 * share, 1 - 0.03 * share, f"{self.machine} predicts better", fontsize=BODY, color=theme.ink, va="top"
        )
        ax.text(
            1 - 0.03 * share, low + 0.03 * share, f"{BASELINE} predicts better", fontsize=BODY, color=theme.muted, ha="right"
        )
        dress(
            ax,
            theme,
            title=f"{self.machine} beats {BASELINE} on {self.fraction:.0%} of {len(self.ideal_r)} seeds",
            xlabel=f"r of {BASELINE} with the network's image",
            ylabel=f"r of {self.machine} with the network's image",
        )
        ax.set(xlim=(low, 1), ylim=(low, 1), aspect="equal")
