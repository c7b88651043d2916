"""Why one pixel is as it is: what it sees, the training patches that it believes in, and the image behind the likeliest.

From left to right: the drawing, with the pixel and its window; the window of the noisy image and of what was made of it; the
likeliest patches with their weights, and all others together; the training image of the first, with the patch framed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from patchmosaic.plots.canvas import CanvasDisplay, Laid, cut_window
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.style import BODY, PAGE, SMALL, TITLE, Theme, fitted
from patchmosaic.provenance.explanation import answer, checked_place, percent, question, source_name
from patchmosaic.provenance.tracing import Provenance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PIXEL = "#ff3d8b"  # bright on black, white and grey
WINDOW, BELIEF = "#239bfa", "#1a6f41"
# Inches: the margin; the two images and the windows between; a line of the list and the parts of it.
_EDGE, _IMAGE, _SEEN, _LINE, _PATCH, _BAR = 0.1, 1.6, 0.76, 0.275, 0.24, 0.5
_LEFT = _EDGE + _IMAGE + 0.14  # of the windows
_LIST = _LEFT + _SEEN + 0.18
_HEADING, _CAPTION = 0.8, 0.2
_TALLEST = 1.9


class PixelSourcesDisplay(CanvasDisplay):
    """The belief of one pixel.

    Args:
        provenance: of the samples.
        pixel: (row, column), from 0 at the upper left.
        sample: which of the batch.

    Raises:
        PatchMosaicError: there is no such pixel.
    """

    def __init__(self, provenance: Provenance, pixel: Sequence[int], sample: int = 0) -> None:
        self.place = checked_place(provenance, pixel, sample)
        self.provenance, self.torus = provenance, provenance.torus
        self.ranks = int((provenance.image[self.place] >= 0).sum())

    @property
    def size(self) -> tuple[float, float]:
        images = _CAPTION + min(_TALLEST, _IMAGE * self._aspect)
        return PAGE, _HEADING + max(images, _CAPTION + (self.ranks + 1) * _LINE, 2 * _CAPTION + 2 * _SEEN + 0.1) + _EDGE

    @property
    def heading(self) -> str:
        """What is asked."""
        return question(self.provenance, self.place[1:], self.place[0])

    @property
    def answer(self) -> list[str]:
        """What there is to say in three sentences."""
        return answer(self.provenance, self.place[1:], self.place[0])

    @property
    def alt(self) -> str:
        listed = "; ".join(
            f"{_where(self.provenance, source)}: {percent(float(self.provenance.weight[source]))}" for source in self._sources
        )
        return f"{self.heading} {' '.join(self.answer)} The likeliest sources: {listed}. All others: {percent(self._rest)}."

    @property
    def _sources(self) -> list[tuple[int, int, int, int]]:
        """(sample, row, column, rank) of each source."""
        sample, row, column = self.place
        return [(sample, row, column, rank) for rank in range(self.ranks)]

    @property
    def _rest(self) -> float:
        return max(0.0, 1 - float(self.provenance.captured[self.place]))

    @property
    def _aspect(self) -> float:
        height, width = self.provenance.x0_hat.shape[2:]
        return height / width

    @property
    def _side(self) -> int:
        """The window's; what lies beyond the whole image on all sides is not worth showing."""
        height, width = self.provenance.x0_hat.shape[2:]
        largest = max(height, width) - 1 + max(height, width) % 2 if self.torus else 2 * max(height, width) - 1
        return min(self.provenance.patch_size or largest, largest)

    def _window(self, pixels: UInt8[np.ndarray, "H W *colour"], row: int, column: int) -> UInt8[np.ndarray, "P Q 4"]:
        if self.provenance.patch_size is None:
            return cut_window(pixels, pixels.shape[0] // 2, pixels.shape[1] // 2, max(pixels.shape[:2]), torus=False)
        return cut_window(pixels, row, column, self._side, torus=self.torus)

    def _compose(self, ax: Axes, theme: Theme) -> None:
        ax.text(_EDGE, 0.26, self.heading, fontsize=TITLE, color=theme.ink, weight="bold", va="bottom")
        for i, sentence in enumerate(self.answer):
            words = fitted(sentence, PAGE - 2 * _EDGE, BODY)
            ax.text(_EDGE, 0.43 + 0.14 * i, words, fontsize=BODY, color=theme.ink, va="bottom")
        sample, row, column = self.place
        drawn = to_pixels(self.provenance.x0_hat[sample : sample + 1])[0]
        self._image(ax, drawn, _EDGE, (row, column), "the drawing", "the pixel, and what it sees", theme)
        self._seen(ax, drawn, theme)
        self._list(ax, theme)
        first, p = self._sources[0], self.provenance
        there = int(p.row[first]), int(p.column[first])
        caption = source_name(p, first)
        self._image(ax, self._pixels(first), PAGE - _EDGE - _IMAGE, there, caption, "the likeliest source", theme)

    def _pixels(self, source: tuple[int, int, int, int]) -> UInt8[np.ndarray, "H W *rgb"]:
        image = int(self.provenance.image[source])
        pixels: UInt8[np.ndarray, "H W *rgb"] = to_pixels(self.provenance.pool.at(slice(image, image + 1)))[0]
        return pixels

    def _caption(self, ax: Axes, words: str, left: float, top: float, width: float, theme: Theme) -> None:
        ax.text(left, top - 0.04, fitted(words, width, BODY), fontsize=BODY, color=theme.muted, va="bottom")

    def _image(
        self,
        ax: Axes,
        pixels: UInt8[np.ndarray, "H W *rgb"],
        left: float,
        pixel: tuple[int, int],
        above: str,
        below: str,
        theme: Theme,
    ) -> None:
        """A whole image with the window and its middle."""
        top = _HEADING + _CAPTION
        laid = Laid(pixels, left, top, min(_IMAGE, _TALLEST / self._aspect)).draw(ax)
        self._caption(ax, above, left, top, _IMAGE, theme)
        ax.text(left, top + laid.height + 0.05, below, fontsize=SMALL, color=theme.muted, va="top")
        if self.provenance.patch_size is not None:
            laid.frame(ax, *pixel, self._side, torus=self.torus, edgecolor=WINDOW, linewidth=1.4)
        laid.frame(ax, *pixel, edgecolor=PIXEL, linewidth=1.2)

    def _seen(self, ax: Axes, drawn: UInt8[np.ndarray, "H W *rgb"], theme: Theme) -> None:
        """The window of x_t and that of x0_hat."""
        sample, row, column = self.place
        left, top = _LEFT, _HEADING + _CAPTION
        x_t = self.provenance.x_t[sample : sample + 1]
        noisy = to_pixels(x_t / max(1.0, float(x_t.abs().max())))[0]
        for pixels, caption in ((noisy, "it sees in x$_t$"), (drawn, "and makes of it")):
            window = self._window(pixels, row, column)
            laid = Laid(window, left, top, _SEEN)
            self._patch(ax, laid, theme)
            ax.text(left, top - 0.04, caption, fontsize=BODY, color=theme.muted, va="bottom")
            top += laid.height + _CAPTION + 0.06

    def _patch(self, ax: Axes, laid: Laid, theme: Theme) -> None:
        """A window on the grey of what lies outside the image, its middle framed."""
        from matplotlib.patches import Rectangle

        ax.add_patch(Rectangle((laid.left, laid.top), laid.width, laid.height, facecolor=theme.rule, linewidth=0, zorder=-1))
        laid.draw(ax)
        if self.provenance.patch_size is not None:
            middle = laid.pixels.shape[0] // 2
            laid.frame(ax, middle, middle, edgecolor=PIXEL, linewidth=1.2 if laid.width > 0.5 else 0.7)

    def _list(self, ax: Axes, theme: Theme) -> None:
        """A line for each source: its patch, its weight as a bar and a number, and where it is."""
        p, top = self.provenance, _HEADING + _CAPTION
        self._caption(ax, "its belief", _LIST, top, 1.0, theme)
        for source in self._sources:
            window = self._window(self._pixels(source), int(p.row[source]), int(p.column[source]))
            height, width = window.shape[:2]
            self._patch(ax, Laid(window, _LIST, top, _PATCH * min(1.0, width / height)), theme)
            words = f"{source_name(p, source)}\nat ({int(p.row[source])}, {int(p.column[source])})"
            self._line(ax, top, float(p.weight[source]), words, BELIEF, theme)
            top += _LINE
        others = f"all {int(p.candidates[self.place]) - self.ranks:,} others"
        self._line(ax, top, self._rest, others, theme.muted, theme)

    def _line(self, ax: Axes, top: float, weight: float, words: str, colour: str, theme: Theme) -> None:
        from matplotlib.patches import Rectangle

        left, middle = _LIST + _PATCH + 0.08, top + _PATCH / 2
        ax.add_patch(Rectangle((left, middle - 0.05), _BAR, 0.1, facecolor=theme.rule, linewidth=0))
        ax.add_patch(Rectangle((left, middle - 0.05), weight * _BAR, 0.1, facecolor=colour, linewidth=0))
        number = left + _BAR + 0.42
        ax.text(number, middle, percent(weight), fontsize=BODY, color=theme.ink, ha="right", va="center")
        room = PAGE - _EDGE - _IMAGE - number - 0.16
        short = "\n".join(fitted(line, room, SMALL) for line in words.splitlines())
        ax.text(number + 0.07, middle, short, fontsize=SMALL, color=theme.muted, va="center", linespacing=1.05)


def _where(provenance: Provenance, source: tuple[int, int, int, int]) -> str:
    row, column = int(provenance.row[source]), int(provenance.column[source])
    return f"({row}, {column}) of {source_name(provenance, source)}"
