"""Points of the plane: what was to be drawn, and what each denoiser draws, a panel a denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.panels import PanelsDisplay
from patchmosaic.plots.style import BODY, SMALL, Theme, dress, folded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLES, FITTED = "#239bfa", "#c95d00"
FEW = 32  # different points: so many are drawn larger
SIDE = 1.35  # panels show -SIDE to SIDE


@dataclass(frozen=True, eq=False)
class PointsResult:
    """A denoiser of points of the plane, as the picture shows it.

    Attributes:
        title: its name.
        samples: (n, 2).
        fitted: (m, 2) the points that it was fitted to, shown as crosses; None where that is the target.
        note: a line below.
    """

    title: str
    samples: Float64[np.ndarray, "n 2"]
    fitted: Float64[np.ndarray, "m 2"] | None = None
    note: str = ""


class PointsDisplay(PanelsDisplay):
    """A panel a denoiser.

    Args:
        results: from the upper left, in reading order.
        outline: (k, 2) a closed line, the target.

    Raises:
        PatchMosaicError: nothing to show.
    """

    panel_height = 1.95

    def __init__(self, results: Sequence[PointsResult], outline: Float64[np.ndarray, "k 2"]) -> None:
        if not results:
            raise PatchMosaicError("there must be points to show", got="none")
        self.results, self.outline, self.count = tuple(results), outline, len(results)

    @property
    def alt(self) -> str:
        each = "; ".join(f"{result.title}: {result.note}" if result.note else result.title for result in self.results)
        return f"{self.count} panels of {len(self.results[0].samples)} points each, over the outline of the target. {each}."

    def outside(self, i: int) -> int:
        """How many samples of result `i` lie beyond the panel."""
        return int((np.abs(self.results[i].samples) > SIDE).any(1).sum())

    def _draw_panel(self, ax: Axes, i: int, theme: Theme) -> None:
        result = self.results[i]
        closed = np.concatenate([self.outline, self.outline[:1]])
        ax.plot(*closed.T, color=theme.rule, linewidth=2.2, solid_capstyle="round", zorder=1)
        if result.fitted is not None:
            ax.scatter(result.fitted[:, 0], result.fitted[:, 1], s=34, marker="x", color=FITTED, linewidths=1.2, zorder=2)
        spots = len(np.unique(result.samples.round(2), axis=0))
        ax.scatter(
            result.samples[:, 0], result.samples[:, 1], s=14 if spots <= FEW else 2, color=SAMPLES, linewidths=0, zorder=3
        )
        ax.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), aspect="equal")
        dress(ax, theme, title=folded(result.title, 34, lines=1))
        ax.title.set_fontsize(BODY)
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set_visible(False)
        beyond = self.outside(i)
        lines = [line for line in (result.note, f"{beyond} samples beyond" if beyond else "") if line]
        ax.set_xlabel("\n".join(lines), fontsize=SMALL, color=theme.muted)
