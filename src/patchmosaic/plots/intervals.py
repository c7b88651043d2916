"""Intervals: estimates with their 95% intervals, a line for each group, beside numbers published by others as rings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchmosaic.errors import PatchMosaicError
from patchmosaic.metrics import Interval
from patchmosaic.plots.display import Display
from patchmosaic.plots.style import BODY, PAGE, SMALL, Theme, dress, folded, plain, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LANE = 0.12  # inches between the estimates of a group
_FRAME = 0.95  # inches that title, axis and legend take


@dataclass(frozen=True)
class Estimate:
    """One of a group: its name, value and interval, colour, and the published number, if there is one."""

    name: str
    interval: Interval
    colour: str
    published: float | None = None


class IntervalsDisplay(Display):
    """Groups from top to bottom, the estimates of each in lanes.

    Args:
        groups: name -> estimates.
        title, xlabel: of the plot.
        zero: draw a line at 0: for differences.

    Raises:
        PatchMosaicError: nothing to show.
    """

    def __init__(self, groups: Mapping[str, Sequence[Estimate]], title: str, xlabel: str, *, zero: bool = False) -> None:
        if not groups or not all(groups.values()):
            raise PatchMosaicError("there must be an estimate in each group", got=dict(groups))
        self.groups, self.title, self.xlabel, self.zero = dict(groups), title, xlabel, zero

    @property
    def size(self) -> tuple[float, float]:
        lanes = sum(len(estimates) + 1 for estimates in self.groups.values())
        return PAGE, _FRAME + _LANE * max(lanes, 8)

    @property
    def alt(self) -> str:
        def told(estimate: Estimate) -> str:
            published = "" if estimate.published is None else f", published {signed(estimate.published)}"
            return f"{estimate.name} {estimate.interval}{published}"

        each = "; ".join(f"{group}: {', '.join(map(told, estimates))}" for group, estimates in self.groups.items())
        return f"{self.title}. {self.xlabel}: {each}."

    def _draw(self, ax: Axes, theme: Theme) -> None:
        y, ticks, named, rings = 0.0, [], set[str](), None
        for group, estimates in self.groups.items():
            ticks.append((y + (len(estimates) - 1) / 2, group))
            for estimate in estimates:
                low, value, high = estimate.interval.low, estimate.interval.value, estimate.interval.high
                label = "_" if estimate.name in named else plain(estimate.name)
                named.add(estimate.name)
                ax.plot([low, high], [y, y], color=estimate.colour, linewidth=1.6, solid_capstyle="round", alpha=0.75)
                ax.scatter([value], [y], s=13, color=estimate.colour, linewidths=0, zorder=4, label=label)
                if estimate.published is not None:
                    rings = ax.scatter(
                        [estimate.published], [y], s=26, facecolors="none", edgecolors=theme.ink, linewidths=0.8, zorder=5
                    )
                y += 1
            ax.axhline(y, color=theme.rule, linewidth=0.5)
            y += 1
        if self.zero:
            ax.axvline(0, color=theme.muted, linewidth=0.8, linestyle=(0, (3, 2)))
        dress(ax, theme, title=self.title, xlabel=f"{self.xlabel}\n(dot: median over seeds; bar: its 95% interval)", grid="x")
        ax.set_yticks([place for place, _ in ticks], [folded(name, 34) for _, name in ticks])
        ax.tick_params(axis="y", labelsize=BODY, labelcolor=theme.ink, length=0)
        ax.tick_params(axis="x", labelsize=SMALL)
        ax.spines["left"].set_visible(False)
        ax.set_ylim(y - 1, -1)
        if rings is not None:
            rings.set_label("published")
        elif len(named) == 1:
            return
        ax.legend(
            loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=SMALL, frameon=False, labelcolor=theme.ink, handletextpad=0.2
        )
