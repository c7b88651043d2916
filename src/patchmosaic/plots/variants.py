"""Variants of an architecture: what the pictures of the study need to know of each, and the picture of what each draws.

One row a variant, one column a seed, the same noise in each column; beside each row, what was measured of all its samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.display import Display
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.style import BODY, PAGE, SMALL, Theme, fitted, plain, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class VariantResult:
    """One variant, as pictures show it.

    Attributes:
        factor: what it changes; neighbours with the same factor are drawn together.
        name: how it changes it.
        title: both, in a line.
        images: (n, C, H, W) in [-1, 1], a sample a seed.
        nearest_ratio: distance to the nearest training image over that to the second nearest, median over samples.
        agreement: correlation of what two networks trained on other images draw from the same seeds, median over seeds.
        realism: distance of the samples from held-out images.
        train_errors, test_errors: of x0_hat at each noise level.
    """

    factor: str
    name: str
    title: str
    images: Float[Tensor, "n C H W"]
    nearest_ratio: float
    agreement: float
    realism: float
    train_errors: Sequence[float]
    test_errors: Sequence[float]


# One colour a factor, in the order of the study; with the machines' own, apart for the colour-blind by lightness as well.
FACTOR_COLOURS = ("#1b1c20", "#c95d00", "#239bfa", "#7a4b00", "#00957c", "#894aa1", "#b0457a", "#5c6ac4", "#8c8d95")
COLUMNS = (("realism", "distance\nfrom real"), ("agreement", "halves\nagree"), ("nearest_ratio", "nearest /\nsecond"))
# Inches.
_LABELS, _HEADING, _NUMBERS, _CELL, _GAP, _BETWEEN = 1.4, 0.4, 0.58, 0.42, 0.04, 0.09


def factor_colours(results: Sequence[VariantResult]) -> dict[str, str]:
    """A colour for each factor, by its place."""
    factors = list(dict.fromkeys(result.factor for result in results))
    return {factor: FACTOR_COLOURS[i % len(FACTOR_COLOURS)] for i, factor in enumerate(factors)}


class VariantSamplesDisplay(Display):
    """What each variant draws from the same seeds.

    Args:
        results: a row each, from top to bottom.
        real: (n, C, H, W) held-out images, shown as the last row; the realism distance of as many such images.
        count: columns, at most; none picked.

    Raises:
        PatchMosaicError: nothing to show.
    """

    def __init__(
        self, results: Sequence[VariantResult], real: tuple[Float[Tensor, "n C H W"], float] | None = None, count: int = 9
    ) -> None:
        if not results or count < 1:
            raise PatchMosaicError("there must be a variant and a column to show", got=f"{len(results)} and {count}")
        self.results, self.real = tuple(results), real
        self.count = min(count, *(len(result.images) for result in results))

    @property
    def size(self) -> tuple[float, float]:
        width = min(PAGE, _LABELS + self.count * _CELL + len(COLUMNS) * _NUMBERS + 0.06)
        return width, self._tops()[-1] + 0.06

    @property
    def alt(self) -> str:
        rows = "; ".join(
            f"{result.title}: distance from real {signed(result.realism)}, agreement of two halves "
            f"{signed(result.agreement)}, nearest ratio {signed(result.nearest_ratio)}"
            for result in self.results
        )
        return f"Samples from {self.count} seeds, a row for each of {len(self.results)} variants. {rows}."

    def _tops(self) -> list[float]:
        """The upper edge of each row from the top, and the lower edge of the last; factors stand apart."""
        tops, y = [], _HEADING
        factors = [result.factor for result in self.results] + (["real"] if self.real else [])
        for _, group in groupby(factors):
            for _ in group:
                tops.append(y)
                y += _CELL
            y += _BETWEEN
        return [*tops, y - _BETWEEN]

    def _new_axes(self, theme: Theme) -> Axes:
        from matplotlib.figure import Figure

        return Figure(figsize=self.size, facecolor=theme.paper).add_axes((0.0, 0.0, 1.0, 1.0))

    def _draw(self, ax: Axes, theme: Theme) -> None:
        width, height = self.size
        tops, colours = self._tops(), factor_colours(self.results)
        right = _LABELS + self.count * _CELL
        ax.text(_LABELS, _HEADING - 0.06, f"the same {self.count} seeds", fontsize=SMALL, color=theme.muted, va="bottom")
        for i, (_, heading) in enumerate(COLUMNS):
            x = right + (i + 1) * _NUMBERS
            ax.text(x, _HEADING - 0.06, heading, fontsize=SMALL, color=theme.muted, ha="right", va="bottom", linespacing=1.05)
        for result, top in zip(self.results, tops, strict=False):
            self._draw_images(ax, result.images, top)
            self._draw_name(ax, result, top, colours[result.factor], theme)
            for i, (field, _) in enumerate(COLUMNS):
                value = signed(getattr(result, field))
                x, y = right + (i + 1) * _NUMBERS, top + _CELL / 2
                ax.text(x, y, value, fontsize=BODY, color=theme.ink, ha="right", va="center")
        if self.real is not None:
            images, distance = self.real
            self._draw_images(ax, images, tops[len(self.results)])
            middle = tops[len(self.results)] + _CELL / 2
            ax.text(_LABELS - 0.12, middle, "real, held out", fontsize=BODY, color=theme.ink, ha="right", va="center")
            ax.text(right + _NUMBERS, middle, signed(distance), fontsize=BODY, color=theme.ink, ha="right", va="center")
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.set_axis_off()

    def _draw_images(self, ax: Axes, images: Float[Tensor, "n C H W"], top: float) -> None:
        side = _CELL - _GAP
        for i, pixels in enumerate(to_pixels(images[: self.count])):
            left = _LABELS + i * _CELL
            extent = (left, left + side, top + side, top)
            ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent)

    def _draw_name(self, ax: Axes, result: VariantResult, top: float, colour: str, theme: Theme) -> None:
        bar = [top, top + _CELL - _GAP]
        ax.plot([_LABELS - 0.06] * 2, bar, color=colour, linewidth=2.4, solid_capstyle="butt")
        right, middle = _LABELS - 0.12, top + (_CELL - _GAP) / 2
        name = fitted(result.name, _LABELS - 0.16, BODY)
        ax.text(right, middle, name, fontsize=BODY, color=theme.ink, weight="bold", ha="right", va="bottom")
        ax.text(right, middle + 0.02, plain(result.factor), fontsize=SMALL, color=theme.muted, ha="right", va="top")
