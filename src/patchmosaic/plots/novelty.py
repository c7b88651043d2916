"""Novelty against patch size: how far the patches of images are from all training patches, beside those of real images.

A copy is 0 at every size. New arrangements of old patches are near 0 at small sizes and as far as whole images at large ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from patchmosaic.analysis.novelty import Novelty, PatchNovelty
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.panels import PanelsDisplay
from patchmosaic.plots.style import PAGE, SMALL, Theme, colours, dress, ordered, plain, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Dashes = str | tuple[int, tuple[float, ...]]
DASHES: Dashes = (0, (3.0, 2.0))


class NoveltyDisplay(PanelsDisplay):
    """Distance to the nearest training patch, and novelty of arrangement: medians over images, bands their middle halves.

    Args:
        results: name -> novelty, all of the same patch sizes and real images.

    Raises:
        PatchMosaicError: nothing to show, or other patch sizes.
    """

    count, across, panel_height = 2, 2, 2.6

    def __init__(self, results: Mapping[str, Novelty]) -> None:
        if len({novelty.patch_sizes for novelty in results.values()}) != 1:
            raise PatchMosaicError("novelty is compared at the same patch sizes", got=list(results) or "nothing")
        first = next(iter(results.values()))
        self.patch_sizes, self.held_out = first.patch_sizes, first.held_out
        self.sets = {name: results[name].images for name in ordered(results)}

    @classmethod
    def from_novelty(cls, novelty: Novelty, title: str = "images") -> NoveltyDisplay:
        """One set of images."""
        return cls({title: novelty})

    @property
    def size(self) -> tuple[float, float]:
        return PAGE, self.panel_height

    @property
    def alt(self) -> str:
        told = []
        for name, measured in {**self.sets, "real images held out": self.held_out}.items():
            middle = measured.distance.quantile(0.5, dim=1).tolist()
            sizes = (f"{signed(value, 3)} at {size}" for size, value in zip(self.patch_sizes, middle, strict=True))
            told.append(f"{name}: {', '.join(sizes)} pixels, whole {signed(float(measured.whole.quantile(0.5)), 3)}")
        return f"Median distance to the nearest training patch against patch size. {'; '.join(told)}. A copy: 0."

    def _draw_panel(self, ax: Axes, i: int, theme: Theme) -> None:
        palette = colours(self.sets)
        self._curve(ax, i, self.held_out, theme.muted, "real images, held out", DASHES)
        for name, measured in self.sets.items():
            self._curve(ax, i, measured, palette[name], plain(name), "solid")
        ax.axhline(0, color=theme.ink, linewidth=1.2)
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, -0.09 * high), high)  # room for what is written below the line
        ax.annotate(
            "a copy",
            (0, 0),
            xycoords=("axes fraction", "data"),
            xytext=(3, -2),
            textcoords="offset points",
            fontsize=SMALL,
            color=theme.ink,
            va="top",
        )
        names = [str(size) for size in self.patch_sizes]
        ax.set_xticks(range(len(names) + (i == 0)), [*names, "whole\nimage"] if i == 0 else names)
        title = "How much of it is arrangement" if i else "How far from the nearest training patch"
        ylabel = "novelty of arrangement" if i else "distance, in pixel values"
        dress(ax, theme, title=title, xlabel="patch size, pixels", ylabel=ylabel, grid="y")
        if i == 0:
            ax.legend(fontsize=SMALL, frameon=False, labelcolor=theme.ink, handlelength=1.8, loc="upper left")

    def _curve(self, ax: Axes, i: int, measured: PatchNovelty, colour: str, label: str, dashes: Dashes) -> None:
        values = torch.cat([measured.distance, measured.whole[None]]) if i == 0 else measured.arrangement
        low, middle, high = torch.quantile(values, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=1).tolist()
        places = range(len(values))
        ax.fill_between(places, low, high, color=colour, alpha=0.14, linewidth=0)
        ax.plot(places, middle, color=colour, linewidth=1.6, linestyle=dashes, marker="o", markersize=3, label=label)
