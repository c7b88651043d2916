"""The summary: architecture against what it generates.

Up: how unlike real images the samples of a variant are. Across, left: whether they are copies of training images; right:
whether other training images would have given the same samples. Beside each name, what the variant draws from the first seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from patchmosaic.analysis.memorisation import COPY_THRESHOLD
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.display import Display
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.style import BODY, PAGE, SMALL, Theme, dress, fitted, plain_log, signed
from patchmosaic.plots.variants import VariantResult, factor_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.gridspec import SubplotSpec

SHOWN = 4  # samples beside each name
# Inches: a line of the list, its samples, its names, and what title and axis take of the height.
_LINE, _SIDE, _NAMES, _FRAME = 0.23, 0.21, 1.8, 0.85


class VariantMapDisplay(Display):
    """A point a variant in each of two plots, and its name and samples at the right, at its height or as near as there is room.

    Args:
        results: in any order.
        real: (nearest ratio, distance from real) of held-out images themselves, a star and a line.

    Raises:
        PatchMosaicError: nothing to show.
    """

    def __init__(self, results: Sequence[VariantResult], real: tuple[float, float] | None = None) -> None:
        if not results:
            raise PatchMosaicError("there must be a variant to show", got="none")
        self.results, self.real = tuple(sorted(results, key=lambda result: result.realism)), real
        self._colours = factor_colours(results)

    @property
    def size(self) -> tuple[float, float]:
        return PAGE, _FRAME + max(2.4, _LINE * len(self.results))

    @property
    def alt(self) -> str:
        points = "; ".join(
            f"{result.title}: {signed(result.realism)}, {signed(result.nearest_ratio)}, {signed(result.agreement)}"
            for result in self.results
        )
        real = "" if self.real is None else f" Held-out images: {signed(self.real[1])} and {signed(self.real[0])}."
        return (
            "Variants by distance of their samples from real images, nearest-training ratio (0: a copy) and agreement of "
            f"two networks trained on different images: {points}.{real}"
        )

    def _new_axes(self, theme: Theme) -> Axes:
        from matplotlib.figure import Figure

        figure, (width, height) = Figure(figsize=self.size, facecolor=theme.paper), self.size
        grid = figure.add_gridspec(1, 1, left=0.5 / width, right=1 - 0.04 / width, top=1 - 0.3 / height, bottom=0.48 / height)
        return figure.add_subplot(grid[0])

    def _draw(self, ax: Axes, theme: Theme) -> None:
        """The plots and the list fill the place of `ax`, whose own frame is not shown."""
        ax.set_axis_off()
        spec: SubplotSpec | None = ax.get_subplotspec()
        if spec is None:
            raise PatchMosaicError("panels need an axes made by subplots", got=type(ax).__name__)
        listed = 0.14 + _NAMES + SHOWN * _SIDE
        plots = (self.size[0] - 0.54 - listed) / 2
        grid = spec.subgridspec(1, 3, width_ratios=(plots, plots, listed), wspace=0.06)
        figure = ax.figure.figure
        copies, agreement, names = (figure.add_subplot(grid[i]) for i in range(3))
        self._draw_points(copies, [result.nearest_ratio for result in self.results], theme)
        self._draw_points(agreement, [result.agreement for result in self.results], theme)
        if self.real is not None:
            copies.scatter([self.real[0]], [self.real[1]], s=70, marker="*", color=theme.ink, linewidths=0, zorder=4)
        copies.axvspan(-0.04, COPY_THRESHOLD, color=theme.rule, alpha=0.35, linewidth=0, zorder=0)
        copies.set_xlim(-0.04, 1.04)
        self._note(copies, (0.0, 1.0), "copies", (2.0, -3.0), theme)
        dress(
            copies,
            theme,
            title="Architecture against what it generates",
            xlabel="nearest / second-nearest training\nimage, median of samples",
            ylabel="distance of samples from real images",
            grid="y",
        )
        dress(agreement, theme, xlabel="r of what networks trained on\ndifferent images draw", grid="y")
        agreement.tick_params(axis="y", labelleft=False)
        self._list(names, agreement, theme)
        self.panels_ = (copies, agreement)

    def _draw_points(self, ax: Axes, across: Sequence[float], theme: Theme) -> None:
        heights = [result.realism for result in self.results]
        colours = [self._colours[result.factor] for result in self.results]
        ax.scatter(across, heights, s=26, c=colours, edgecolors=theme.paper, linewidths=0.6, zorder=3)
        known = heights if self.real is None else [*heights, self.real[1]]
        ax.set_yscale("log")
        ax.set_ylim(min(known) / 1.2, max(known) * 1.2)
        plain_log(ax.yaxis, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
        if self.real is not None:
            ax.axhline(self.real[1], color=theme.muted, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
            self._note(ax, (0.0, self.real[1]), "real images", (2.0, -2.0), theme)

    def _note(self, ax: Axes, at: tuple[float, float], text: str, by: tuple[float, float], theme: Theme) -> None:
        across = ax.transAxes if at[1] == 1.0 else ax.get_yaxis_transform()
        ax.annotate(
            text, at, xycoords=across, xytext=by, textcoords="offset points", fontsize=SMALL, color=theme.muted, va="top"
        )

    def _list(self, ax: Axes, points: Axes, theme: Theme) -> None:
        """Names and samples from top to bottom as the points are, each tied to its point by a line."""
        from matplotlib.patches import ConnectionPatch

        width, height = 0.14 + _NAMES + SHOWN * _SIDE, self.size[1] - 0.78
        to_place = points.transScale + points.transLimits
        wanted = [to_place.transform((0.0, result.realism))[1] * height for result in self.results]
        for result, y in zip(self.results, spread(wanted, _LINE, height - _LINE / 2), strict=True):
            colour = self._colours[result.factor]
            ax.text(0.16, y, fitted(result.title, _NAMES - 0.05, BODY), fontsize=BODY, color=theme.ink, va="center")
            tie = ConnectionPatch(
                (result.agreement, result.realism), (0.13, y), "data", "data", axesA=points, axesB=ax, color=colour
            )
            tie.set(linewidth=0.6, alpha=0.6, zorder=2)
            ax.figure.add_artist(tie)
            for i, pixels in enumerate(to_pixels(result.images[:SHOWN])):
                left, below = 0.14 + _NAMES + i * _SIDE, y - (_SIDE - 0.02) / 2
                extent = (left, left + _SIDE - 0.02, below, below + _SIDE - 0.02)
                ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent, aspect="auto")
        ax.set(xlim=(0, width), ylim=(0, height))
        ax.set_axis_off()


def spread(wanted: Sequence[float], step: float, top: float) -> list[float]:
    """Increasing places, each at least `step` above the one before, near the wanted ones and below `top` if there is room."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + step) if places else max(place, step / 2))
    ceiling = max(top, step * (len(places) - 0.5))
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - step
    return places
