"""Where a prediction differs from the network's image: the best and the worst seeds, with a map of the difference each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from patchmosaic.comparison import Comparison
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.display import Display
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.style import BODY, SMALL, Theme, known_machines, plain, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELL, _GAP, _LEFT, _TOP, _NUMBER = 0.66, 0.04, 0.85, 0.42, 0.16
_WHITE = 1.0  # a difference of half of the range of an image is as bright as can be


class DifferencesDisplay(Display):
    """Three rows: network, machine, |difference|; best seeds at the left, worst at the right, the mean of all seeds last.

    Args:
        network, machine: (n, H, W) grey or (n, H, W, 3) RGB pixels, the best first.
        differences: (n, H, W) |difference|, the mean over channels of images in [-1, 1].
        mean: (H, W) the same over all seeds of the comparison.
        r: (n,) of each pair.
        seeds: (n,) their numbers.
        name: of the machine.
        total: seeds of the comparison.

    Raises:
        PatchMosaicError: nothing to show.
    """

    def __init__(
        self,
        network: UInt8[np.ndarray, "n H W *rgb"],
        machine: UInt8[np.ndarray, "n H W *rgb"],
        differences: Float64[np.ndarray, "n H W"],
        mean: Float64[np.ndarray, "H W"],
        r: Float64[np.ndarray, " n"],
        seeds: Int64[np.ndarray, " n"],
        name: str,
        total: int,
    ) -> None:
        if len(network) == 0:
            raise PatchMosaicError("there must be a pair to show", got="none")
        self.network, self.machine, self.differences, self.mean = network, machine, differences, mean
        self.r, self.seeds, self.name, self.total = r, seeds, name, total

    @classmethod
    def from_comparison(cls, comparison: Comparison, machine: str, pairs: int = 4) -> DifferencesDisplay:
        """The `pairs` best and worst seeds of a machine by r; all seeds where there are fewer.

        Raises:
            PatchMosaicError: the comparison has no such machine.
        """
        known_machines(comparison, [machine])
        r = comparison.per_seed[machine]["r"]
        order = r.argsort(descending=True, stable=True)
        shown = order if len(order) <= 2 * pairs else order[[*range(pairs), *range(len(order) - pairs, len(order))]]
        differences = (comparison.images[machine].double() - comparison.network_images.double()).abs().mean(1)
        return cls(
            to_pixels(comparison.network_images[shown]),
            to_pixels(comparison.images[machine][shown]),
            differences[shown].numpy(),
            differences.mean(0).numpy(),
            r[shown].numpy(),
            np.array(comparison.seeds)[shown.numpy()],
            machine,
            len(comparison.seeds),
        )

    @property
    def size(self) -> tuple[float, float]:
        return _LEFT + (len(self.r) + 1) * (_CELL + _GAP) + 0.2, _TOP + _NUMBER + 3 * (_CELL + _GAP) + 0.05

    @property
    def alt(self) -> str:
        middle = self.mean.shape[0] // 4, self.mean.shape[1] // 4
        inside = self.mean[middle[0] : -middle[0] or None, middle[1] : -middle[1] or None]
        return (
            f"Best and worst of {self.total} seeds: the network's image, what {self.name} predicts, and where they differ. "
            f"r from {signed(float(self.r[0]))} to {signed(float(self.r[-1]))}. Mean absolute difference over all seeds "
            f"{signed(float(self.mean.mean()))}, in the middle of the image {signed(float(inside.mean()))}."
        )

    def _new_axes(self, theme: Theme) -> Axes:
        from matplotlib.figure import Figure

        return Figure(figsize=self.size, facecolor=theme.paper).add_axes((0.0, 0.0, 1.0, 1.0))

    def _draw(self, ax: Axes, theme: Theme) -> None:
        width, height = self.size
        lefts = [_LEFT + i * (_CELL + _GAP) for i in range(len(self.r))]
        tops = [_TOP + row * (_CELL + _GAP) for row in range(3)]
        for left, seed, r, *images in zip(lefts, self.seeds, self.r, self.network, self.machine, self.differences, strict=True):
            for top, image in zip(tops, images[:2], strict=False):
                self._image(ax, image, left, top, cmap="gray", vmin=0, vmax=255)
            self._image(ax, images[2], left, tops[2], cmap="magma", vmin=0, vmax=_WHITE)
            note: dict[str, Any] = {"fontsize": SMALL, "ha": "center"}
            ax.text(left + _CELL / 2, _TOP - 0.05, f"seed {seed}", color=theme.muted, va="bottom", **note)
            ax.text(left + _CELL / 2, tops[2] + _CELL + 0.04, f"r {signed(float(r))}", color=theme.ink, va="top", **note)
        left = _LEFT + len(self.r) * (_CELL + _GAP) + 0.12
        self._image(ax, self.mean, left, tops[2], cmap="magma", vmin=0, vmax=_WHITE)
        ax.text(
            left + _CELL / 2, tops[2] - 0.05, f"mean of\n{self.total} seeds", fontsize=SMALL, color=theme.muted, ha="center"
        )
        scale: dict[str, Any] = {"fontsize": SMALL, "color": theme.muted, "ha": "center", "va": "top"}
        ax.text(left + _CELL / 2, tops[2] + _CELL + 0.04, "black 0, bright 1", **scale)
        names = ("network", plain(self.name), "|difference|")
        for top, name in zip(tops, names, strict=True):
            ax.text(_LEFT - 0.08, top + _CELL / 2, name, fontsize=BODY, color=theme.ink, ha="right", va="center")
        ax.text(lefts[0], 0.17, "best seeds", fontsize=BODY, color=theme.ink, weight="bold", va="center")
        end = lefts[-1] + _CELL
        ax.text(end, 0.17, "worst seeds", fontsize=BODY, color=theme.ink, weight="bold", ha="right", va="center")
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.set_axis_off()

    def _image(self, ax: Axes, pixels: np.ndarray, left: float, top: float, **colours: object) -> None:
        extent = (left, left + _CELL, top + _CELL, top)
        ax.imshow(pixels, interpolation="nearest", extent=extent, **colours)  # type: ignore[arg-type]
