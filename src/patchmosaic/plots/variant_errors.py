"""Denoising error against noise level, a panel for each factor that variants change.

Errors are shown in units of the base's error on held-out images: 1.2 is a fifth worse. A gap between the line of held-out
images and that of training images is what a network knows of its training images only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.panels import DividedDisplay
from patchmosaic.plots.style import PAGE, SMALL, SPARE_COLOURS, TITLE, Theme, dress, plain, plain_log, signed
from patchmosaic.plots.variants import VariantResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 3  # panels a row
PANEL_HEIGHT = 1.75  # inches
SHOWN = (0.25, 5.0)  # relative errors beyond are not drawn
_DASHES = (0, (2.2, 1.4))
_COLOURS = ("#239bfa", "#c95d00", "#1a6f41", "#894aa1", *SPARE_COLOURS)


class VariantErrorsDisplay(DividedDisplay):
    """A panel a factor: held-out images as lines, training images as dashes, the base in every panel.

    Args:
        results: the base first; the other panels in the order in which factors appear.
        noise_levels: sigma / alpha at each error, increasing.

    Raises:
        PatchMosaicError: nothing but the base, or errors at another number of noise levels.
    """

    def __init__(self, results: Sequence[VariantResult], noise_levels: Sequence[float]) -> None:
        if len(results) < 2:
            raise PatchMosaicError("there must be a variant beside the base", got=f"{len(results)} results")
        lengths = {len(errors) for result in results for errors in (result.train_errors, result.test_errors)}
        if lengths != {len(noise_levels)}:
            raise PatchMosaicError(f"errors must be given at {len(noise_levels)} noise levels", got=sorted(lengths))
        self.base, self.others, self.noise_levels = results[0], tuple(results[1:]), tuple(noise_levels)
        self.factors = tuple(dict.fromkeys(result.factor for result in self.others))

    @property
    def size(self) -> tuple[float, float]:
        return PAGE, 0.4 + PANEL_HEIGHT * math.ceil(len(self.factors) / ACROSS)

    @property
    def alt(self) -> str:
        middle = len(self.noise_levels) // 2
        ratios = "; ".join(
            f"{result.title} {signed(self.relative(result.test_errors)[middle])}, "
            f"on training images {signed(self.relative(result.train_errors)[middle])}"
            for result in self.others
        )
        return (
            f"Denoising error over that of the base, a panel for each of {', '.join(self.factors)}. "
            f"At noise level {self.noise_levels[middle]:.2g}: {ratios}."
        )

    def relative(self, errors: Sequence[float]) -> list[float]:
        """Errors over the base's on held-out images."""
        return [error / base for error, base in zip(errors, self.base.test_errors, strict=True)]

    def _draw(self, ax: Axes, theme: Theme) -> None:
        figure = ax.figure.figure
        grid = self._divided(ax, math.ceil(len(self.factors) / ACROSS), ACROSS)
        self.panels_ = []
        for i, factor in enumerate(self.factors):
            panel = figure.add_subplot(grid[i // ACROSS, i % ACROSS])
            self._draw_panel(panel, factor, theme, first=i % ACROSS == 0, last=i + ACROSS >= len(self.factors))
            self.panels_.append(panel)
        all_errors = (errors for result in (self.base, *self.others) for errors in (result.test_errors, result.train_errors))
        values = [value for errors in all_errors for value in self.relative(errors)]
        for panel in self.panels_:
            panel.set_ylim(max(SHOWN[0], min(values) / 1.08), min(SHOWN[1], max(values) * 1.08))

    def _draw_panel(self, ax: Axes, factor: str, theme: Theme, *, first: bool, last: bool) -> None:
        lines = [(self.base, theme.muted), *zip((r for r in self.others if r.factor == factor), _COLOURS, strict=False)]
        for result, colour in lines:
            for errors, dashes in ((result.test_errors, "solid"), (result.train_errors, _DASHES)):
                label = plain(result.name) if errors is result.test_errors else f"_{result.name}, training images"
                relative = self.relative(errors)
                ax.plot(self.noise_levels, relative, color=colour, linewidth=1.3, linestyle=dashes, label=label)
        if factor == self.factors[0]:
            for label, dashes in (("held-out images", "solid"), ("training images", _DASHES)):
                ax.plot([], [], color=theme.ink, linewidth=1.0, linestyle=dashes, label=label)
        ax.set_xscale("log")
        ax.set_yscale("log")
        plain_log(ax.xaxis)
        plain_log(ax.yaxis, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
        dress(
            ax,
            theme,
            title=plain(factor),
            xlabel="noise level σ/α" if last else "",
            ylabel="error / base's on held-out" if first else "",
            grid="y",
        )
        ax.title.set_fontsize(TITLE)
        ax.legend(fontsize=SMALL - 0.5, frameon=False, labelcolor=theme.ink, handlelength=1.3, borderaxespad=0.2)
