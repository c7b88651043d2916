"""Excess limbs: how many figures have the wrong number at each patch size, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from patchmosaic.analysis.limbs import UNREADABLE
from patchmosaic.analysis.tally import LimbTally, Verdict
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.canvas import CanvasDisplay, Laid
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.panels import DividedDisplay, outside_legend
from patchmosaic.plots.style import BODY, PAGE, SMALL, TITLE, Theme, dress, plain

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

# From the bottom of a bar up; what is right is what is left of the whole.
COLOURS: dict[Verdict, str] = {"too many": "#c95d00", "too few": "#239bfa", "no figure": "#8c8d95"}
Bars = Mapping[str, LimbTally]  # what stands below a bar -> the bar


class LimbSharesDisplay(DividedDisplay):
    """Stacked bars, a panel for each group: the share of figures with too many limbs, too few, or no figure at all.

    Args:
        title: what was drawn.
        groups: panel title -> bars, from left to right.

    Raises:
        PatchMosaicError: nothing to show.
    """

    def __init__(self, title: str, groups: Mapping[str, Bars]) -> None:
        if not groups or not all(groups.values()):
            raise PatchMosaicError("there must be a tally in each group", got=", ".join(groups) or "no group")
        self.title, self.groups = title, dict(groups)

    @property
    def size(self) -> tuple[float, float]:
        return PAGE, 2.5

    @property
    def alt(self) -> str:
        def told(name: str, tally: LimbTally) -> str:
            return f"{name}: {tally.share('too many').value:.0%} too many, {tally.wrong.value:.0%} wrong in all"

        each = "; ".join(
            f"{group}, {', '.join(told(name.replace(chr(10), ''), tally) for name, tally in bars.items())}"
            for group, bars in self.groups.items()
        )
        return f"{self.title}: share of figures with a wrong number of limbs. {each}."

    def _draw(self, ax: Axes, theme: Theme) -> None:
        grid = self._divided(ax, 1, len(self.groups), [len(bars) + 0.6 for bars in self.groups.values()])
        self.panels_ = []
        for i, (group, bars) in enumerate(self.groups.items()):
            panel = ax.figure.figure.add_subplot(grid[0, i])
            shapes = self._draw_bars(panel, bars, theme)
            dress(panel, theme, title=plain(group), ylabel="share of figures" if i == 0 else "", grid="y")
            panel.title.set_fontsize(BODY)
            panel.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"] if i == 0 else [""] * 5)
            panel.tick_params(axis="x", length=0, labelcolor=theme.ink)
            self.panels_.append(panel)
        ax.figure.figure.suptitle(plain(self.title), x=0.01, ha="left", fontsize=TITLE, color=theme.ink)
        outside_legend(ax, shapes, theme)

    def _draw_bars(self, ax: Axes, bars: Bars, theme: Theme) -> dict[str, Artist]:
        places = range(len(bars))
        floor = np.zeros(len(bars))
        shapes: dict[str, Artist] = {}
        for verdict, colour in COLOURS.items():
            shares = np.array([tally.share(verdict).value for tally in bars.values()])
            shapes[verdict] = ax.bar(places, shares, 0.78, floor, color=colour, linewidth=0)  # type: ignore[assignment]
            floor += shares
        rest = ax.bar(places, 1 - floor, 0.78, floor, color=theme.rule, alpha=0.55, linewidth=0)
        shapes["right"] = rest  # type: ignore[assignment]
        for place, tally in zip(places, bars.values(), strict=True):
            interval = tally.wrong
            ends = ax.plot([place] * 2, [interval.low, interval.high], color=theme.ink, linewidth=0.9, solid_capstyle="butt")
            shapes["95% interval of all that is wrong"] = ends[0]
        ax.set_xticks(places, list(bars))
        ax.set(xlim=(-0.6, len(bars) - 0.4), ylim=(0, 1))
        return shapes


@dataclass(frozen=True, eq=False)
class GalleryRow:
    """What one denoiser draws: its name, a remark, its images in [-1, 1] and their tally."""

    name: str
    remark: str
    images: Float[Tensor, "n 1 H W"]
    tally: LimbTally


_LABELS, _HEADING, _CELL, _GAP, _COUNT, _BETWEEN = 1.12, 0.52, 0.56, 0.05, 0.13, 0.05  # inches


class LimbGalleryDisplay(CanvasDisplay):
    """The same seeds in every row, each image with the number of its limbs; wrong numbers are framed.

    Args:
        title: what is drawn.
        rows: from top to bottom, of equally many images.
        count: columns: the seeds that have too many limbs in the most rows, in the order of their numbers.

    Raises:
        PatchMosaicError: nothing to show, or rows of different lengths.
    """

    def __init__(self, title: str, rows: Sequence[GalleryRow], count: int = 9) -> None:
        lengths = {len(row.images) for row in rows} | {len(row.tally.counts) for row in rows}
        if len(lengths) != 1 or count < 1:
            raise PatchMosaicError(
                "rows must show the same seeds, at least one", got=f"{sorted(lengths)} images, {count} shown"
            )
        self.title, self.rows = title, tuple(rows)
        excess = np.array([[number > row.tally.expected for number in row.tally.counts] for row in rows]).sum(0)
        self.seeds = tuple(sorted(np.argsort(-excess, kind="stable")[:count].tolist()))

    @property
    def size(self) -> tuple[float, float]:
        return _LABELS + len(self.seeds) * _CELL + 0.05, _HEADING + len(self.rows) * self._pitch

    @property
    def _pitch(self) -> float:
        return _CELL - _GAP + _COUNT + _BETWEEN

    @property
    def alt(self) -> str:
        rows = "; ".join(
            f"{row.name}, {row.remark}: {', '.join(_written(row.tally.counts[seed]) for seed in self.seeds)}"
            for row in self.rows
        )
        return f"{self.title}, where {self.rows[0].tally.expected} limbs are right. Limbs of seeds {self.seeds}: {rows}."

    def _compose(self, ax: Axes, theme: Theme) -> None:
        from matplotlib.patches import Rectangle

        ax.text(0.08, 0.17, plain(self.title), fontsize=TITLE, color=theme.ink, va="center")
        x = 0.08
        for verdict, colour in COLOURS.items():
            ax.add_patch(Rectangle((x, 0.31), 0.1, 0.1, fill=False, edgecolor=colour, linewidth=1.6))
            label = ax.text(x + 0.16, 0.36, verdict, fontsize=SMALL, color=theme.ink, va="center")
            x += 0.3 + 0.055 * len(label.get_text())
        note = f"{len(self.seeds)} of {len(self.rows[0].images)} seeds, those with too many most often"
        ax.text(self.size[0] - 0.05 - _GAP, 0.36, note, fontsize=SMALL, color=theme.muted, ha="right", va="center")
        side = _CELL - _GAP
        for i, row in enumerate(self.rows):
            top = _HEADING + i * self._pitch
            middle = top + side / 2
            ax.text(
                _LABELS - 0.1, middle, plain(row.name), fontsize=BODY, color=theme.ink, weight="bold", ha="right", va="bottom"
            )
            ax.text(_LABELS - 0.1, middle + 0.03, plain(row.remark), fontsize=SMALL, color=theme.muted, ha="right", va="top")
            for k, (seed, pixels) in enumerate(zip(self.seeds, to_pixels(row.images[list(self.seeds)]), strict=True)):
                number = row.tally.counts[seed]
                verdict = row.tally.verdict(number)
                left = _LABELS + k * _CELL
                Laid(pixels, left, top, side).draw(ax)
                if verdict != "right":
                    frame = Rectangle((left, top), side, side, fill=False, edgecolor=COLOURS[verdict], linewidth=1.8)
                    ax.add_patch(frame)
                ax.text(
                    left + side / 2,
                    top + side + 0.075,
                    _written(number),
                    fontsize=SMALL,
                    color=theme.muted if verdict == "right" else theme.ink,
                    weight="normal" if verdict == "right" else "bold",
                    ha="center",
                    va="center",
                )


def _written(number: int) -> str:
    return "none" if number == UNREADABLE else str(number)
