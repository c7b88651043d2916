"""Side by side: what a trained network drew, and what was predicted in closed form from the same noise.

One column a seed. From top to bottom: the noise x_T, the network's image, and each machine's image with its correlation r.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, UInt8

from patchmosaic.comparison import Comparison
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.display import Display
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.style import BODY, PAGE, SMALL, TITLE, Theme, colours, fitted, folded, known_machines, plain, signed
from patchmosaic.sampling import seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Noise is shown at a third of its size: three standard deviations span black to white.
NOISE_SPAN = 3.0
# Inches; in pictures narrower than _NARROW the captions start at the left and have no note at the right.
_LABELS, _HEADINGS, _CAPTION, _NUMBER, _GAP, _LARGEST_CELL, _NARROW = 1.12, 0.24, 0.22, 0.135, 0.05, 0.8, 5.2
# From which width a picture has room for which caption over the machines.
_PREDICTED = {
    6.9: "predicted in closed form from the same noise, without training",
    2.7: "predicted in closed form, without training",
    0.0: "predicted in closed form",
}
_NOTE = "below: r with the network's image, best in bold"


@dataclass(frozen=True, eq=False)
class Row:
    """One row of the picture: an image a seed.

    Attributes:
        name: "noise", "network", or the machine's name.
        pixels: (n, H, W) grey or (n, H, W, 3) RGB.
        r: the correlation of each image with the network's; None for noise and network.
        median: of r over all seeds of the comparison, also those not shown.
        colour: of the machine; None for noise and network.
    """

    name: str
    pixels: UInt8[np.ndarray, "n H W *rgb"]
    r: Float64[np.ndarray, " n"] | None = None
    median: float | None = None
    colour: str | None = None


class SideBySideDisplay(Display):
    """The picture of the project.

    Args:
        rows: from top to bottom; the machines after "network".
        heading: what `headings` are, "class" or "seed".
        headings: what stands over each column.
        total: seeds of the comparison, of which the first are shown.
    """

    def __init__(self, rows: Sequence[Row], heading: str, headings: Sequence[str], total: int) -> None:
        self.rows, self.heading, self.headings, self.total = tuple(rows), heading, tuple(headings), total

    @classmethod
    def from_comparison(
        cls,
        comparison: Comparison,
        machines: Sequence[str] | None = None,
        count: int = 10,
        *,
        noise: bool = True,
        class_names: Sequence[str] = (),
    ) -> SideBySideDisplay:
        """The first `count` seeds of a comparison, none picked.

        Args:
            machines: names, from top to bottom; by default all, the local ones first.
            count: columns, where there are as many seeds.
            noise: show x_T as the first row.
            class_names: the name of class i at index i, as in `ImageSet.class_names`.

        Raises:
            PatchMosaicError: the comparison has no such machine, or `count` is below 1.
        """
        if count < 1:
            raise PatchMosaicError("there must be at least one column", got=count)
        names = known_machines(comparison, machines)
        palette = colours(comparison.images)
        rows = [Row("network", to_pixels(comparison.network_images[:count]))]
        if noise:
            x_T = seeds(comparison.seeds[:count], comparison.network_images.shape[1:])
            rows.insert(0, Row("noise", to_pixels(x_T / NOISE_SPAN)))
        for name in names:
            r = comparison.per_seed[name]["r"].numpy()
            pixels = to_pixels(comparison.images[name][:count])
            rows.append(Row(name, pixels, r[:count], float(np.median(r)), palette[name]))
        numbers = [str(number) for number in comparison.seeds[:count]]
        if comparison.labels is None:
            return cls(rows, "seed", numbers, len(comparison.seeds))
        labels = [int(label) for label in comparison.labels[:count]]
        classes = [class_names[label] if label < len(class_names) else str(label) for label in labels]
        return cls(rows, "class", classes, len(comparison.seeds))

    @property
    def size(self) -> tuple[float, float]:
        return self._width, self._tops()[-1] + 0.04

    @property
    def alt(self) -> str:
        machines = ", ".join(f"{row.name} (median r {signed(row.median or 0.0)})" for row in self.rows if row.r is not None)
        return (
            f"{len(self.headings)} columns, one for each seed. Top: drawn by the trained network. "
            f"Below: predicted in closed form from the same noise by {machines or 'no machine'}."
        )

    @property
    def _cell(self) -> float:
        return min(_LARGEST_CELL, (PAGE - _LABELS - 0.06) / len(self.headings))

    @property
    def _width(self) -> float:
        return _LABELS + len(self.headings) * self._cell + 0.06

    @property
    def _image_size(self) -> tuple[float, float]:
        """(width, height) of one image in inches."""
        height, width = self.rows[0].pixels.shape[1:3]
        across = self._cell - _GAP
        return across, across * height / width

    def _tops(self) -> list[float]:
        """The upper edge of each row's images in inches from the top, and the lower edge of it all."""
        tops, y = [], _HEADINGS
        for i, row in enumerate(self.rows):
            y += _CAPTION if self._caption(i) else 0
            tops.append(y)
            y += self._image_size[1] + (_NUMBER if row.r is not None else 0) + _GAP
        return [*tops, y]

    def _caption(self, i: int) -> str:
        """What the group that starts with row i is; empty within a group."""
        row = self.rows[i]
        if row.r is None:
            return {"noise": "the same noise goes in", "network": "drawn by the trained network"}[row.name]
        if i and self.rows[i - 1].r is not None:
            return ""
        return next(caption for width, caption in _PREDICTED.items() if self._width >= width)

    def _new_axes(self, theme: Theme) -> Axes:
        from matplotlib.figure import Figure

        return Figure(figsize=self.size, facecolor=theme.paper).add_axes((0.0, 0.0, 1.0, 1.0))

    def _draw(self, ax: Axes, theme: Theme) -> None:
        width, height = self.size
        lefts = [_LABELS + i * self._cell for i in range(len(self.headings))]
        middles = [left + self._image_size[0] / 2 for left in lefts]
        ax.text(_LABELS - 0.1, _HEADINGS - 0.05, self.heading, fontsize=SMALL, color=theme.muted, ha="right", va="bottom")
        for x, heading in zip(middles, self.headings, strict=True):
            ax.text(
                x,
                _HEADINGS - 0.05,
                fitted(heading, self._cell - 0.03, SMALL),
                fontsize=SMALL,
                color=theme.ink,
                ha="center",
                va="bottom",
            )
        best = np.max([row.r for row in self.rows if row.r is not None], axis=0, initial=-2)
        for i, (row, top) in enumerate(zip(self.rows, self._tops(), strict=False)):
            if caption := self._caption(i):
                note = _NOTE if row.r is not None and width >= _NARROW else ""
                _draw_caption(ax, caption, note, top, width, theme)
            for left, pixels in zip(lefts, row.pixels, strict=True):
                self._draw_image(ax, pixels, left, top)
            self._draw_label(ax, row, top, theme)
            if row.r is not None:
                for x, r, highest in zip(middles, row.r, best, strict=True):
                    y = top + self._image_size[1] + 0.02
                    weight, colour = ("bold", theme.ink) if r == highest else ("normal", theme.muted)
                    ax.text(x, y, signed(r), fontsize=SMALL - 0.5, color=colour, weight=weight, ha="center", va="top")
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.set_axis_off()

    def _draw_image(self, ax: Axes, pixels: UInt8[np.ndarray, "H W *rgb"], left: float, top: float) -> None:
        across, down = self._image_size
        ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=(left, left + across, top + down, top))

    def _draw_label(self, ax: Axes, row: Row, top: float, theme: Theme) -> None:
        height, right = self._image_size[1], _LABELS - 0.1
        if row.median is None:
            name = {"noise": "noise $x_T$", "network": "network"}[row.name]
            ax.text(right, top + height / 2, name, fontsize=TITLE, color=theme.ink, weight="bold", ha="right", va="center")
            return
        middle = top + max(height / 2, 0.15)  # two lines of text need as much, even beside small images
        short = len(row.name) <= 10
        name = plain(row.name) if short else folded(row.name, 15, lines=2 if height > 0.45 else 1)
        ax.text(
            right,
            middle - 0.02,
            name,
            fontsize=TITLE if short else SMALL,
            color=theme.ink,
            weight="bold",
            ha="right",
            va="bottom",
        )
        ax.text(right, middle + 0.03, f"median r {signed(row.median)}", fontsize=SMALL, color=theme.muted, ha="right", va="top")
        bar = [top, top + height]
        ax.plot([_LABELS - 0.05] * 2, bar, color=row.colour, linewidth=2.2, solid_capstyle="butt")


def _draw_caption(ax: Axes, caption: str, note: str, top: float, width: float, theme: Theme) -> None:
    y, left = top - _CAPTION / 2 + 0.015, _LABELS if width >= _NARROW else 0.1
    ax.plot([0.06, width - 0.06], [y, y], color=theme.rule, linewidth=0.8, zorder=0)
    behind = {"facecolor": theme.paper, "edgecolor": "none", "pad": 2}
    ax.text(left, y, caption, fontsize=BODY, color=theme.muted, style="italic", va="center", bbox=behind)
    if note:
        ax.text(width - 0.06 - _GAP, y, note, fontsize=SMALL, color=theme.muted, ha="right", va="center", bbox=behind)
