"""Images beside the training images nearest to them, and how near that is compared with real images.

The images whose ratio of distances is lowest come first: if any are copies, they are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from patchmosaic.analysis.memorisation import COPY_THRESHOLD, Memorisation
from patchmosaic.errors import PatchMosaicError, ShapeError
from patchmosaic.plots.display import Display
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.style import BODY, PAGE, SMALL, SPARE_COLOURS, Theme, dress, plain, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COPIED = "#c95d00"
# Inches: what is written at the left of the images and below them, the gap between columns, the height of the histogram.
_LABELS, _WORDS, _GAP, _TITLE, _HISTOGRAM, _LARGEST = 0.95, 0.3, 0.05, 0.3, 1.5, 0.75
BINS = 24


class MemorisationDisplay(Display):
    """Samples, their nearest and second nearest training images, and the histogram of the ratios.

    Args:
        result: what was found.
        images: (S, C, H, W) the images in question, in [-1, 1].
        count: columns.
        title: whose images.

    Raises:
        ShapeError: not the images of the result.
        PatchMosaicError: fewer than one column.
    """

    def __init__(self, result: Memorisation, images: Float[Tensor, "S C H W"], count: int = 10, title: str = "images") -> None:
        if len(images) != len(result.images) or tuple(images.shape[1:]) != result.pool.image_shape:
            raise ShapeError(f"{len(result.images)} images of the result are wanted", got=tuple(images.shape))
        if count < 1:
            raise PatchMosaicError("there must be at least one column", got=count)
        self.result, self.title = result, title
        self.shown = result.images.ratio.argsort()[:count]
        self.rows = (images[self.shown], *(self._nearest(rank) for rank in (0, 1)))

    @classmethod
    def from_memorisation(
        cls, result: Memorisation, images: Float[Tensor, "S C H W"], count: int = 10, *, title: str = "images"
    ) -> MemorisationDisplay:
        """The `count` images with the lowest ratios. Arguments and errors as for the class."""
        return cls(result, images, count, title)

    def _nearest(self, rank: int) -> Tensor:
        found = self.result.pool.at(self.result.images.index[self.shown, rank])
        shifts = self.result.images.shift[self.shown, rank].tolist()
        return torch.stack([image.roll(tuple(shift), (1, 2)) for image, shift in zip(found, shifts, strict=True)])

    @property
    def size(self) -> tuple[float, float]:
        return PAGE, _TITLE + self._grid_height + _HISTOGRAM + 0.75

    @property
    def _cell(self) -> float:
        return min(_LARGEST, (PAGE - _LABELS) / len(self.shown))

    @property
    def _down(self) -> float:
        """From one row of images to the next."""
        height, width = self.rows[0].shape[2:]
        return (self._cell - _GAP) * height / width + _GAP

    @property
    def _grid_height(self) -> float:
        return 3 * self._down + _WORDS

    @property
    def alt(self) -> str:
        ratios, own = self.result.images.ratio, self.result.held_out.ratio
        nearest = ", ".join(signed(value) for value in ratios[self.shown].tolist())
        return (
            f"{int(self.result.copies.sum())} of {len(ratios)} {self.title} are copies. Shown with their nearest and second "
            f"nearest training images are those with the lowest ratio of distances: {nearest}. Median ratio "
            f"{signed(float(ratios.quantile(0.5)))}, of {len(own)} real images {signed(float(own.quantile(0.5)))}."
        )

    def _new_axes(self, theme: Theme) -> Axes:
        from matplotlib.figure import Figure

        height = self.size[1]
        figure = Figure(figsize=self.size, facecolor=theme.paper)
        grid = figure.add_gridspec(1, 1, left=0.02, right=0.98, top=1 - _TITLE / height, bottom=0.42 / height)
        return figure.add_subplot(grid[0])

    def _draw(self, ax: Axes, theme: Theme) -> None:
        """Images and histogram fill the place of `ax`, whose own frame is not shown."""
        ax.set_axis_off()
        spec = ax.get_subplotspec()
        if spec is None:
            raise PatchMosaicError("panels need an axes made by subplots", got=type(ax).__name__)
        parts = spec.subgridspec(2, 1, height_ratios=(self._grid_height, _HISTOGRAM), hspace=0.06)
        figure = ax.figure.figure
        images = figure.add_subplot(parts[0])
        below = parts[1].subgridspec(1, 2, width_ratios=(_LABELS, PAGE - _LABELS), wspace=0)
        histogram = figure.add_subplot(below[1])
        self._draw_images(images, theme)
        self._draw_histogram(histogram, theme)
        self.panels_ = (images, histogram)

    def _draw_images(self, ax: Axes, theme: Theme) -> None:
        side, down = self._cell - _GAP, self._down
        ratios, distances = self.result.images.ratio[self.shown].tolist(), self.result.images.distance[self.shown, 0].tolist()
        names = (plain(self.title), "nearest\ntraining image", "second nearest")
        for row, (name, images) in enumerate(zip(names, self.rows, strict=True)):
            ax.text(_LABELS - 0.1, (row + 0.5) * down, name, fontsize=BODY, color=theme.ink, ha="right", va="center")
            for column, pixels in enumerate(to_pixels(images)):
                left, top = _LABELS + column * self._cell, row * down
                extent = (left, left + side, top + down - _GAP, top)
                ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent)
                if row < 2 and ratios[column] < COPY_THRESHOLD:
                    self._frame(ax, extent)
        ax.text(_LABELS - 0.1, 3 * down, "distance\nratio", fontsize=SMALL, color=theme.muted, ha="right", va="top")
        for column, (ratio, distance) in enumerate(zip(ratios, distances, strict=True)):
            copied = ratio < COPY_THRESHOLD
            x = _LABELS + column * self._cell + side / 2
            words = f"{distance:.2f}\n{signed(ratio)}"
            weight = "bold" if copied else "normal"
            ax.text(x, 3 * down, words, fontsize=SMALL, color=theme.ink, weight=weight, ha="center", va="top")
        ax.set(xlim=(0, PAGE), ylim=(self._grid_height, -0.03), aspect="equal", anchor="W")
        ax.set_axis_off()
        count = int(self.result.copies.sum())
        ax.set_title(
            f"{count} of {len(self.result.images)} {plain(self.title)} {'is a copy' if count == 1 else 'are copies'}; "
            f"shown are the {len(self.shown)} with the lowest ratio" * (len(self.shown) > 1),
            loc="left",
            fontsize=BODY + 1,
            color=theme.ink,
        )

    @staticmethod
    def _frame(ax: Axes, extent: tuple[float, float, float, float]) -> None:
        from matplotlib.patches import Rectangle

        left, right, bottom, top = extent
        ax.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=COPIED, linewidth=1.8))

    def _draw_histogram(self, ax: Axes, theme: Theme) -> None:
        edges = np.linspace(0, 1, BINS + 1)
        for name, ratios, colour, filled in (
            (f"{len(self.result.held_out)} real images held out", self.result.held_out.ratio, theme.muted, True),
            (f"{len(self.result.images)} {plain(self.title)}", self.result.images.ratio, SPARE_COLOURS[0], False),
        ):
            share = np.histogram(ratios.numpy(), edges)[0] / len(ratios)
            ax.stairs(share, edges, fill=filled, color=colour, alpha=0.35 if filled else 1, linewidth=1.8, label=name)
        ax.axvspan(0, COPY_THRESHOLD, color=COPIED, alpha=0.09, linewidth=0)
        ax.annotate(
            "copies",
            (COPY_THRESHOLD, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -4),
            textcoords="offset points",
            fontsize=SMALL,
            color=theme.ink,
            ha="right",
            va="top",
        )
        ax.set_xlim(0, 1)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        dress(ax, theme, xlabel="distance to the nearest / to the second nearest training image", ylabel="images", grid="y")
        ax.legend(fontsize=SMALL, frameon=False, labelcolor=theme.ink, handlelength=1.4, loc="upper center")
