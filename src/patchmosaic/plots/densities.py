"""Laws on the line: what was to be drawn, what theory says is drawn instead, and what was drawn, a panel a denoiser.

The three are shown in the same bins: where filled bars and line agree, the law is right; where the line leaves the dashes, the
denoiser draws something else than its target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.panels import PanelsDisplay
from patchmosaic.plots.style import BODY, SMALL, Theme, dress, folded, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLES, LAW = "#9fd3ff", "#c95d00"
TOP = 1.7  # highest density shown, in units of the target's: points are bars of any height


@dataclass(frozen=True, eq=False)
class DensityResult:
    """A denoiser of one number, as the picture shows it.

    Attributes:
        title: its name.
        samples: (n,) what was drawn.
        predicted: (bins,) probability of each bin.
        target: (bins,) probability of each bin under the target; None where it is no law of one number.
        distance: Wasserstein distance of the samples from the prediction.
    """

    title: str
    samples: Float64[np.ndarray, " n"]
    predicted: Float64[np.ndarray, " bins"]
    target: Float64[np.ndarray, " bins"] | None
    distance: float


class DensitiesDisplay(PanelsDisplay):
    """A panel a denoiser.

    Args:
        results: from the upper left, in reading order.
        edges: (bins + 1,) of the bins that all share.
        xlabel: what the number is, if not x0.

    Raises:
        PatchMosaicError: nothing to show, or predictions of another number of bins.
    """

    panel_height = 1.5

    def __init__(self, results: Sequence[DensityResult], edges: Float64[np.ndarray, " edges"], xlabel: str = "") -> None:
        if not results:
            raise PatchMosaicError("there must be a law to show", got="none")
        for result in results:
            if len(result.predicted) != len(edges) - 1:
                raise PatchMosaicError(f"{result.title}: there are {len(edges) - 1} bins", got=len(result.predicted))
        self.results, self.edges, self.count = tuple(results), edges, len(results)
        self.xlabel = f"{xlabel}; " if xlabel else ""
        known = [result.predicted if result.target is None else result.target for result in results]
        self._top = TOP * float(max(self.density(mass).max() for mass in known))

    @property
    def size(self) -> tuple[float, float]:
        width, height = super().size
        return width, height if self.count > 1 else 2.4

    @property
    def alt(self) -> str:
        each = "; ".join(f"{result.title} {signed(result.distance, 3)}" for result in self.results)
        return (
            f"{self.count} panels, each with a histogram of {len(self.results[0].samples)} samples, the predicted law and the "
            f"target. Wasserstein distance between samples and prediction: {each}."
        )

    def density(self, mass: Float64[np.ndarray, " bins"]) -> Float64[np.ndarray, " bins"]:
        """Probabilities of the bins -> mean densities in them."""
        return mass / np.diff(self.edges)

    def drawn(self, i: int) -> Float64[np.ndarray, " bins"]:
        """The histogram of result `i`, as densities; samples beyond the bins count in the total."""
        samples = self.results[i].samples
        return self.density(np.histogram(samples, self.edges)[0] / len(samples))

    def _draw_panel(self, ax: Axes, i: int, theme: Theme) -> None:
        result = self.results[i]
        ax.stairs(self.drawn(i), self.edges, fill=True, color=SAMPLES, label="samples")
        if result.target is not None:
            dashes = (0, (2.2, 1.4))
            ax.stairs(self.density(result.target), self.edges, color=theme.ink, linewidth=0.9, linestyle=dashes, label="target")
        ax.stairs(self.density(result.predicted), self.edges, color=LAW, linewidth=1.1, label="predicted law")
        ax.set(xlim=(self.edges[0], self.edges[-1]), ylim=(0, self._top))
        ax.set_yticks([])
        dress(ax, theme, title=folded(result.title, 34, lines=1))
        ax.title.set_fontsize(BODY)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel(f"{self.xlabel}W1 from the law {signed(result.distance, 3)}", fontsize=SMALL, color=theme.muted)
        if i == 0:
            ax.legend(
                fontsize=SMALL, frameon=False, labelcolor=theme.ink, handlelength=1.2, borderaxespad=0.1, loc="upper left"
            )
