"""Scatter: for each seed, how well the ideal score machine predicts (x) against how well another machine does (y).

A point above the diagonal is a seed that the machine predicts better than memory of whole images does. Kamb & Ganguli 2024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from patchmosaic.comparison import BASELINE, Comparison
from patchmosaic.plots.display import Display
from patchmosaic.plots.style import BODY, COLUMN, SMALL, Theme, colours, dress, folded, known_machines, signed

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
            clip_on=False,
        )
        ax.scatter(
            [x],
            [y],
            s=48,
            marker="D",
            color=theme.ink,
            edgecolors=theme.paper,
            linewidths=0.8,
            zorder=4,
            clip_on=False,
            label="median",
        )
        # The medians are written where their lines meet the axes, on the side with more room.
        for value, at, across in [(x, (x, low), True), (y, (low, y), False)]:
            beyond = value > low + share / 2
            ax.annotate(
                f"median {signed(value)}",
                at,
                xytext=(-3 if beyond else 3, 3) if across else (3, -3 if beyond else 3),
                textcoords="offset points",
                fontsize=SMALL,
                color=theme.ink,
                ha="right" if across and beyond else "left",
                va="top" if beyond and not across else "bottom",
            )
        self._name_sides(ax, theme, low)
        dress(
            ax,
            theme,
            title=folded(f"{self.machine} beats {BASELINE} on {self.fraction:.0%} of {len(self.ideal_r)} seeds", 38),
            xlabel=f"r of {BASELINE} with the network's image",
            ylabel=folded(f"r of {self.machine} with the network's image", 44),
        )
        ax.set(xlim=(low, 1), ylim=(low, 1), aspect="equal")

    def _name_sides(self, ax: Axes, theme: Theme, low: float) -> None:
        """Say along the diagonal who is better on which side, at the place farthest from the lines of the medians."""
        places = (low + (1 - low) * place for place in (0.24, 0.5, 0.76))
        place = max(places, key=lambda place: min(abs(place - median) for median in self.medians))
        for name, side, colour in [(self.machine, 1, theme.ink), (BASELINE, -1, theme.muted)]:
            ax.annotate(
                f"{folded(name, 12, lines=1)} predicts better",
                (place, place),
                xytext=(-6 * side, 6 * side),
                textcoords="offset points",
                fontsize=BODY,
                color=colour,
                ha="center",
                va="center",
                rotation=45,
                rotation_mode="anchor",
            )
