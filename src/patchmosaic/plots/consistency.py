"""Locally consistent pixels against the number of steps: how far the theorem of t -> 0 has come true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.display import Display
from patchmosaic.plots.style import COLUMN, SMALL, Theme, colours, dress
from patchmosaic.provenance.consistency import Consistency

if TYPE_CHECKING:
    from matplotlib.axes import Axes

APART = 1.09  # the dots of one machine stand beside those of the next
_MARKERS = ("o", "s", "D", "^")


class ConsistencyDisplay(Display):
    """A line a machine, the mean over seeds; each seed a dot.

    Args:
        studies: one a machine.

    Raises:
        PatchMosaicError: there is none.
    """

    def __init__(self, studies: Sequence[Consistency]) -> None:
        if not studies:
            raise PatchMosaicError("there is no study of consistency to show", got="none")
        self.studies = tuple(studies)

    @property
    def size(self) -> tuple[float, float]:
        return COLUMN, 2.5

    @property
    def alt(self) -> str:
        each = "; ".join(
            f"{study.machine}: " + ", ".join(f"{share:.0%} at {n}" for n, share in zip(study.steps, study.mean, strict=True))
            for study in self.studies
        )
        return f"Share of pixels that equal the centre of their nearest training patch, against the number of steps. {each}."

    def _draw(self, ax: Axes, theme: Theme) -> None:
        from matplotlib.ticker import NullLocator

        palette = colours(study.machine for study in self.studies)
        for i, study in enumerate(self.studies):
            colour, marker = palette[study.machine], _MARKERS[i % len(_MARKERS)]
            label = f"{study.machine}  ({len(study.seeds)} seeds)"
            beside = APART ** (i - (len(self.studies) - 1) / 2)
            for steps, shares in zip(study.steps, study.shares, strict=True):
                ax.scatter([steps * beside] * len(shares), shares, s=7, color=colour, alpha=0.35, linewidths=0, zorder=2)
            ax.plot(study.steps, study.mean, color=colour, linewidth=1.6, marker=marker, markersize=4, label=label, zorder=3)
        ticks = sorted({steps for study in self.studies for steps in study.steps})
        ax.set_xscale("log")
        ax.xaxis.set_ticks(ticks, [str(tick) for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_ylim(-0.03, 1.03)
        ax.yaxis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        dress(
            ax,
            theme,
            title="Locally consistent pixels",
            xlabel="DDIM steps   (line: mean; dots: seeds)",
            ylabel="share of pixels",
            grid="y",
        )
        ax.legend(fontsize=SMALL, frameon=False, labelcolor=theme.ink, loc="lower right")
