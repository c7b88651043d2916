"""Summary: the median of a metric with its 95% interval, one line a machine, before a strip of all seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from patchmosaic.comparison import Comparison
from patchmosaic.errors import PatchMosaicError
from patchmosaic.metrics import METRICS, Interval
from patchmosaic.plots.display import Display
from patchmosaic.plots.style import BODY, COLUMN, SMALL, TITLE, Theme, colours, dress, folded, known_machines, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRIC_NAMES = {
    "r": "Pearson correlation r with the network's image",
    "r2": "squared correlation r² with the network's image",
    "R2": "coefficient of determination R² of the network's image",
    "cosine": "cosine similarity with the network's image",
    "mse": "mean squared error from the network's image",
}


class SummaryDisplay(Display):
    """One line a machine.

    Args:
        values: machine -> (S,) the metric of each seed, from top to bottom.
        intervals: machine -> median and interval.
        metric: "r", "r2", "R2", "cosine" or "mse".
        palette: machine -> colour.
    """

    def __init__(
        self,
        values: dict[str, Float64[np.ndarray, " S"]],
        intervals: dict[str, Interval],
        metric: str,
        palette: dict[str, str],
    ) -> None:
        self.values, self.intervals, self.metric, self.palette = values, intervals, metric, palette

    @classmethod
    def from_comparison(
        cls, comparison: Comparison, machines: Sequence[str] | None = None, metric: str = "r"
    ) -> SummaryDisplay:
        """Machines of a comparison, by default all.

        Raises:
            PatchMosaicError: the comparison has no such machine or metric.
        """
        if metric not in METRICS:
            raise PatchMosaicError("no such metric", got=repr(metric), hint=f"Known: {', '.join(METRICS)}.")
        names = known_machines(comparison, machines)
        values = {name: comparison.per_seed[name][metric].numpy() for name in names}
        intervals = {name: comparison.median(name, metric) for name in names}
        return cls(values, intervals, metric, colours(comparison.images))

    @property
    def size(self) -> tuple[float, float]:
        return COLUMN, 0.87 + 0.34 * max(2, len(self.values))

    @property
    def alt(self) -> str:
        medians = ", ".join(f"{name} {interval}" for name, interval in self.intervals.items())
        return f"Median {METRIC_NAMES[self.metric]} over seeds with 95% intervals: {medians}."

    def _draw(self, ax: Axes, theme: Theme) -> None:
        count = max(len(values) for values in self.values.values())
        for y, (name, values) in enumerate(self.values.items()):
            colour, interval = self.palette[name], self.intervals[name]
            ax.scatter(values, y + _spread(len(values)), s=7, color=colour, alpha=0.35, linewidths=0)
            ax.plot([interval.low, interval.high], [y, y], color=colour, linewidth=4.5, solid_capstyle="round")
            ax.scatter([interval.value], [y], s=30, color=colour, edgecolors=theme.paper, linewidths=1.1, zorder=4)
            ax.annotate(
                signed(interval.value, 3 if self.metric == "mse" else 2),
                (1.0, y),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                textcoords="offset points",
                fontsize=BODY,
                color=theme.ink,
                va="center",
            )
        dress(
            ax,
            theme,
            title=f"Median over {count} seeds",
            xlabel=f"{METRIC_NAMES[self.metric]}\n(small dot: a seed; bar: 95% interval of the median)",
            grid="x",
        )
        ax.set_yticks(range(len(self.values)), [folded(name, 14) for name in self.values])
        ax.tick_params(
            axis="y", labelsize=TITLE if all(len(name) <= 10 for name in self.values) else BODY, labelcolor=theme.ink, length=0
        )
        ax.tick_params(axis="x", labelsize=SMALL)
        ax.spines["left"].set_visible(False)
        ax.set_ylim(len(self.values) - 0.5, -0.5)
        if self.metric != "mse":
            ax.set_xlim(right=1.005)


def _spread(count: int) -> Float64[np.ndarray, " n"]:
    """Heights in [-0.28, 0.28] that keep neighbours in the list apart: the golden ratio's sequence, the same each time."""
    golden = 0.6180339887498949
    return ((np.arange(count) * golden) % 1.0 - 0.5) * 0.56
