"""A canvas of inches, on which small pictures are laid: what pictures made of images, frames and words share.

The axes is the page: x to the right and y down, in inches. An image laid on it has a place for each of its pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from patchmosaic.plots.display import Display
from patchmosaic.plots.style import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize


class CanvasDisplay(Display):
    """Base of the pictures that lay out images and words by inches."""

    @abstractmethod
    def _compose(self, ax: Axes, theme: Theme) -> None:
        """Draw on an axes of inches."""

    def _new_axes(self, theme: Theme) -> Axes:
        from matplotlib.figure import Figure

        return Figure(figsize=self.size, facecolor=theme.paper).add_axes((0.0, 0.0, 1.0, 1.0))

    def _draw(self, ax: Axes, theme: Theme) -> None:
        self._compose(ax, theme)
        width, height = self.size
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.set_axis_off()


@dataclass(frozen=True, eq=False)
class Laid:
    """An image of H x W pixels, bytes or numbers, whose upper left corner is at (left, top), `width` inches wide."""

    pixels: Shaped[np.ndarray, "H W *colour"]
    left: float
    top: float
    width: float

    @property
    def pixel(self) -> float:
        """The side of a pixel in inches."""
        return self.width / float(self.pixels.shape[1])

    @property
    def height(self) -> float:
        """Inches."""
        return self.pixel * float(self.pixels.shape[0])

    def draw(self, ax: Axes, cmap: str = "gray", norm: Normalize | None = None) -> Laid:
        """Lay it on the canvas, bytes as grey or colour, numbers by `cmap` and `norm`; returns itself."""
        from matplotlib.colors import Normalize

        extent = (self.left, self.left + self.width, self.top + self.height, self.top)
        ax.imshow(self.pixels, cmap=cmap, norm=norm or Normalize(0, 255), interpolation="nearest", extent=extent)
        return self

    def lines(self, ax: Axes, edges: Int64[np.ndarray, "edges 2 2"], **look: Any) -> None:
        """Draw pixel edges, each given by its two ends (row, column); corner (r, c) is the upper left of pixel (r, c)."""
        from matplotlib.collections import LineCollection

        ax.add_collection(LineCollection(list(edges[..., ::-1] * self.pixel + (self.left, self.top)), **look))

    def frame(self, ax: Axes, row: int, column: int, side: int = 1, *, torus: bool = False, **look: Any) -> None:
        """Draw a frame round the window of `side` x `side` pixels about a pixel, cut at the border or going round it."""
        from matplotlib.patches import Rectangle

        for top, left, bottom, right in self._parts(row, column, side, torus):
            corner = self.left + left * self.pixel, self.top + top * self.pixel
            size = (right - left) * self.pixel, (bottom - top) * self.pixel
            ax.add_patch(Rectangle(corner, *size, fill=False, **look))

    def _parts(self, row: int, column: int, side: int, torus: bool) -> Iterator[tuple[int, int, int, int]]:
        height, width = self.pixels.shape[:2]
        reach = (-1, 0, 1) if torus else (0,)
        for down, across in product(reach, reach):
            top, left = row - side // 2 + down * height, column - side // 2 + across * width
            part = max(top, 0), max(left, 0), min(top + side, height), min(left + side, width)
            if part[0] < part[2] and part[1] < part[3]:
                yield part


def cut_window(
    pixels: UInt8[np.ndarray, "H W *colour"], row: int, column: int, side: int, *, torus: bool
) -> UInt8[np.ndarray, "P P 4"]:
    """The window of `side` x `side` pixels about a pixel, RGBA: on a torus it goes round, else it is transparent outside."""
    height, width = pixels.shape[:2]
    rows, columns = (at - side // 2 + np.arange(side) for at in (row, column))
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    seen = pixels[rows[:, None] % height, columns % width]
    colour = seen if seen.ndim == 3 else np.repeat(seen[..., None], 3, axis=-1)
    alpha = np.where(inside | torus, 255, 0).astype(np.uint8)
    return np.concatenate([colour, alpha[..., None]], axis=-1)
