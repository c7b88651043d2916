"""Agreement with theory against training steps: a panel a network, a line a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots.panels import PanelsDisplay, outside_legend
from patchmosaic.plots.style import BODY, COLUMN, PAGE, Theme, dress, folded, ordered, plain, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = Mapping[int, Sequence[float]]  # training step -> (median, low, high)
APART = 1.5  # factor between steps whose names fit beside each other
_DASHES = {"final": "solid", "own": (0, (3, 1.5))}


@dataclass(frozen=True)
class TrainingPanel:
    """One network: its title, curves by (machine, "final" or "own" scale), and the machines' colours."""

    title: str
    curves: Mapping[tuple[str, str], Curve]
    palette: Mapping[str, str]


class TrainingStepsDisplay(PanelsDisplay):
    """Median r with its interval, on a log axis of training steps.

    Raises:
        PatchMosaicError: nothing to show.
    """

    panel_height = 2.6

    def __init__(self, panels: Sequence[TrainingPanel]) -> None:
        if not panels or not all(panel.curves for panel in panels):
            raise PatchMosaicError("there must be a curve in each panel", got=len(panels))
        self.panels, self.count = tuple(panels), len(panels)

    @property
    def across(self) -> int:
        return min(self.count, 2)

    @property
    def size(self) -> tuple[float, float]:
        return (PAGE if self.across == 2 else COLUMN), 0.45 + self.panel_height * -(-self.count // self.across)

    @property
    def alt(self) -> str:
        def told(curve: Curve) -> str:
            best = max(curve, key=lambda step: curve[step][0])
            return f"highest {signed(curve[best][0])} at {best:,} steps, last {signed(curve[max(curve)][0])}"

        each = "; ".join(
            f"{panel.title}, {machine} at its {scale} scale {told(curve)}"
            for panel in self.panels
            for (machine, scale), curve in panel.curves.items()
        )
        return f"Median r with the network's image against training steps. {each}."

    def _draw(self, ax: Axes, theme: Theme) -> None:
        super()._draw(ax, theme)
        lines = {label: line for panel in self.panels_ for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        outside_legend(ax, lines, theme, columns=3 if self.across == 1 else 7)

    def _draw_panel(self, ax: Axes, i: int, theme: Theme) -> None:
        panel = self.panels[i]
        machines = ordered(dict.fromkeys(machine for machine, _ in panel.curves))
        for machine in machines:
            for scale, dashes in _DASHES.items():
                if (machine, scale) not in panel.curves:
                    continue
                curve, colour = panel.curves[machine, scale], panel.palette[machine]
                steps = sorted(curve)
                median, low, high = ([curve[step][k] for step in steps] for k in range(3))
                label = plain(machine) if scale == "final" else "_"
                ax.vlines(steps, low, high, color=colour, alpha=0.35, linewidth=0.9)
                ax.plot(steps, median, color=colour, linewidth=1.5, linestyle=dashes, marker="o", markersize=2.2, label=label)
        if any(scale == "own" for _, scale in panel.curves):
            ax.plot([], [], color=theme.muted, linewidth=1.2, label="scale: finished network's")
            ax.plot([], [], color=theme.muted, linewidth=1.2, linestyle=_DASHES["own"], label="scale: each moment's")
        ax.set_xscale("log")
        ylabel = "median r with the network's image" if i % self.across == 0 else ""
        dress(ax, theme, title=folded(panel.title, 40), xlabel="training steps", ylabel=ylabel, grid="y")
        ax.title.set_fontsize(BODY)
        ax.minorticks_off()
        taken = sorted({step for curve in panel.curves.values() for step in curve})
        # The last is named; one that is too near to the next would overlap its name.
        apart = [step for step, following in pairwise(taken) if following > APART * step]
        ax.set_xticks(taken, [f"{step:,}" if step in (*apart, taken[-1]) else "" for step in taken])
