"""A drawing as the mosaic that it is: cut into the pieces that it takes from training images, and where each comes from.

From left to right: what was drawn; the same with the boundaries of its pieces; each pixel in the colour of its source image.
Below, the images that most pixels come from, framed in their colours. A pixel of which no patch holds half of the belief, such
as one of an empty background, has no source to speak of: it is pale, and not cut from its like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.canvas import CanvasDisplay, Laid
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.style import BODY, PAGE, SMALL, TITLE, Theme, fitted
from patchmosaic.provenance.explanation import class_name
from patchmosaic.provenance.mosaic import By, Mosaic
from patchmosaic.provenance.tracing import Provenance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito 2008, "Color universal design": told apart with every kind of colour vision. In the order of the pixels taken.
SOURCE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442")
OTHER_COLOURS = ("#7d7e87", "#8f9099", "#a1a2aa", "#b3b4bb")  # greys, so that neighbours among all other images differ
PALE = 0.82  # how much of the paper a pixel without a source to speak of takes on
BOUNDARY = "#ff3d8b"  # bright on black, white and grey
# Inches: the margin, between panels, title, captions, and what is written below a thumbnail.
_EDGE, _BETWEEN, _TITLE, _CAPTION, _WORDS = 0.1, 0.14, 0.3, 0.22, 0.46
_FRAME = 0.03  # of a thumbnail, outside it


def source_colours(mosaic: Mosaic) -> dict[int, str]:
    """A colour for each source image: bright ones for those that most settled pixels come from, greys for the rest."""
    bright = dict(zip(mosaic.settled_sources, SOURCE_COLOURS, strict=False))
    return bright | {image: OTHER_COLOURS[image % len(OTHER_COLOURS)] for image in mosaic.sources if image not in bright}


class MosaicDisplay(CanvasDisplay):
    """One sample and its mosaic.

    Args:
        drawn: (C, H, W) in [-1, 1].
        mosaic: its pieces.
        pool: the training images.
        title: what was drawn.
    """

    def __init__(self, drawn: Float[Tensor, "C H W"], mosaic: Mosaic, pool: ImageSet, title: str = "") -> None:
        if drawn.shape[1:] != mosaic.image.shape:
            raise PatchMosaicError("drawing and mosaic differ in size", got=f"{drawn.shape[1:]} and {mosaic.image.shape}")
        self.drawn, self.mosaic, self.pool, self.title = drawn, mosaic, pool, title
        self.colours = source_colours(mosaic)
        self.shown = [image for image, colour in self.colours.items() if colour in SOURCE_COLOURS]

    @classmethod
    def from_provenance(cls, provenance: Provenance, sample: int = 0, by: By = "image", *, title: str = "") -> MosaicDisplay:
        """One sample of a batch.

        Raises:
            PatchMosaicError: there is no such sample.
        """
        mosaic = Mosaic.from_provenance(provenance, sample, by)
        return cls(provenance.x0_hat[sample], mosaic, provenance.pool, title)

    @property
    def size(self) -> tuple[float, float]:
        thumbnails = _CAPTION + self._thumbnail * self._aspect + _WORDS if self.shown else 0.0
        return PAGE, _TITLE + _CAPTION + self._panel * self._aspect + thumbnails + _EDGE

    @property
    def heading(self) -> str:
        """The mosaic in a line."""
        return f"{self.title}: {self.mosaic}" if self.title else str(self.mosaic)

    @property
    def alt(self) -> str:
        height, width = self.mosaic.image.shape
        largest = "; ".join(f"{', '.join(self._name(image))}: {share:.1%}" for image, share in self._shares.items())
        return (
            f"A drawing of {height} x {width} pixels. {self.heading}: of the others no patch has half of the belief. "
            f"Share of the pixels from the first images: {largest or 'none'}."
        )

    @property
    def _shares(self) -> dict[int, float]:
        """The settled pixels of each image shown, as a share of all pixels."""
        return {image: self.mosaic.settled_sources[image] for image in self.shown}

    @property
    def _aspect(self) -> float:
        return self.drawn.shape[1] / self.drawn.shape[2]

    @property
    def _panel(self) -> float:
        return (PAGE - 2 * _EDGE - 2 * _BETWEEN) / 3

    @property
    def _thumbnail(self) -> float:
        most = len(SOURCE_COLOURS)
        return (PAGE - 2 * _EDGE - (most - 1) * 2 * _BETWEEN - 2 * _FRAME) / most

    def _name(self, image: int) -> list[str]:
        return [f"image {image:,}", *class_name(self.pool, image)]

    def _compose(self, ax: Axes, theme: Theme) -> None:
        words = fitted(self.heading, PAGE - 2 * _EDGE, TITLE)
        ax.text(_EDGE, _TITLE - 0.06, words, fontsize=TITLE, color=theme.ink, weight="bold", va="bottom")
        pixels = to_pixels(self.drawn[None])[0]
        top = _TITLE + _CAPTION
        panels = [
            Laid(shown, _EDGE + i * (self._panel + _BETWEEN), top, self._panel).draw(ax)
            for i, shown in enumerate((pixels, pixels, self._map(theme)))
        ]
        cuts = self.mosaic.settled_boundary.numpy()
        panels[1].lines(ax, cuts, colors=BOUNDARY, linewidths=0.7, capstyle="projecting")
        panels[2].lines(ax, cuts, colors=theme.paper, linewidths=0.6, capstyle="projecting")
        for panel, caption in zip(panels, ("as drawn", "its pieces", "the image each pixel comes from"), strict=True):
            ax.text(panel.left, top - 0.05, caption, fontsize=BODY, color=theme.muted, va="bottom")
        self._draw_sources(ax, top + panels[0].height, theme)

    def _map(self, theme: Theme) -> UInt8[np.ndarray, "H W 3"]:
        """Each pixel in the colour of its source, pale where that is not settled."""
        from matplotlib.colors import to_rgb

        images = self.mosaic.image.numpy()
        colour = {image: np.array(to_rgb(name)) for image, name in self.colours.items()}
        full = np.array([[colour[image] for image in line] for line in images.tolist()])
        pale = np.where(self.mosaic.settled.numpy(), 0.0, PALE)[..., None]
        mixed = (1 - pale) * full + pale * np.array(to_rgb(theme.paper))
        colours: UInt8[np.ndarray, "H W 3"] = np.rint(255 * mixed).astype(np.uint8)
        return colours

    def _draw_sources(self, ax: Axes, top: float, theme: Theme) -> None:
        if not self.shown:
            return
        rest = len(self.mosaic.settled_sources) - len(self.shown)
        caption = f"the images that give the most pixels   (grey above: {rest:,} others; pale: no patch has half of the belief)"
        ax.text(_EDGE, top + _CAPTION - 0.05, caption, fontsize=BODY, color=theme.muted, va="bottom")
        thumbnails = to_pixels(self.pool.at(torch.tensor(self.shown)))
        for i, (image, share, pixels) in enumerate(zip(self.shown, self._shares.values(), thumbnails, strict=True)):
            left = _EDGE + _FRAME + i * (self._thumbnail + 2 * _BETWEEN)
            laid = Laid(pixels, left, top + _CAPTION + 0.03, self._thumbnail).draw(ax)
            ax.plot(*_outline(laid), color=self.colours[image], linewidth=2 * 72 * _FRAME * 0.7, solid_joinstyle="miter")
            lines = (f"{share:.1%} of pixels", *self._name(image))
            words = "\n".join(fitted(line, self._thumbnail + _BETWEEN, SMALL) for line in lines)
            below = laid.top + laid.height + 0.05
            ax.text(left - _FRAME, below, words, fontsize=SMALL, color=theme.ink, va="top", linespacing=1.15)


def _outline(laid: Laid) -> tuple[list[float], list[float]]:
    left, right, top, bottom = laid.left, laid.left + laid.width, laid.top, laid.top + laid.height
    return [left, right, right, left, left], [top, top, bottom, bottom, top]
