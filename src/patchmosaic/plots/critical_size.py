"""The patch size that gives its source away, at each noise level: measured, and as information theory predicts it.

Above its line a machine's window tells its source apart from all other patches. Where a network's locality scale is drawn, what
lies below the line of its machine does not copy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from patchmosaic.analysis.capacity import white_critical_size
from patchmosaic.analysis.information import Information
from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.plots.display import Display
from patchmosaic.plots.panels import legend_beside
from patchmosaic.plots.style import COLUMN, Theme, colours, dress, plain, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAUSSIAN, _WHITE = (0, (5, 2)), (0, (1, 1.5))
_SCALE: dict[str, Any] = {"linewidth": 3.5, "alpha": 0.3, "solid_capstyle": "butt"}


class CriticalSizeDisplay(Display):
    """Critical patch size against noise level.

    Args:
        measured: one a machine.
        scales: machine -> the locality scale of a network, drawn as steps.

    Raises:
        PatchMosaicError: nothing to show.
    """

    def __init__(self, measured: Sequence[Information], scales: Mapping[str, LocalityScale] | None = None) -> None:
        if not measured:
            raise PatchMosaicError("there must be information to show", got="none")
        self.measured, self.scales = tuple(measured), dict(scales or {})

    @property
    def size(self) -> tuple[float, float]:
        return COLUMN * 1.6, 2.9

    @property
    def alt(self) -> str:
        told = []
        for one in self.measured:
            rows = zip(one.noise_levels, one.critical_sizes(), one.white_critical_sizes(), strict=True)
            sizes = (f"{size:.1f} at noise {level:.2g} (white pixels: {white:.1f})" for level, size, white in rows if size)
            told.append(f"{one.machine}: {', '.join(sizes) or 'none'}")
        return f"Patch size in pixels from which a window gives its source away, against noise level. {'; '.join(told)}."

    def _draw(self, ax: Axes, theme: Theme) -> None:
        from matplotlib.ticker import NullLocator

        palette = colours(one.machine for one in self.measured)
        for one in self.measured:
            self._draw_machine(ax, one, palette[one.machine])
        ax.plot([], [], color=theme.ink, linewidth=1.1, linestyle=_GAUSSIAN, label="predicted, Gaussian windows")
        white = "predicted, white pixels:\n√(2 ln|D| / C ln(1+s²/λ²))"
        ax.plot([], [], color=theme.ink, linewidth=1.1, linestyle=_WHITE, label=white)
        if self.scales:
            ax.plot([], [], color=theme.ink, **_SCALE, label="the network's locality scale")
        ax.set_xscale("log")
        plain_log(ax.xaxis)
        ax.set_yscale("log")
        ax.set_ylim(self.measured[0].patch_sizes[0] * 0.93, self._top * 1.07)
        ax.set_yticks(ticks := self._ticks(), [str(size) for size in ticks])
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_xlim(self.measured[0].noise_levels[0], self._last_level())
        dress(
            ax,
            theme,
            title="The window that gives its source away",
            xlabel="noise level λ = σ/α",
            ylabel="patch size, pixels",
            grid="y",
        )
        legend_beside(ax, "above its line a window\nknows its source", theme, handlelength=2.2)

    def _draw_machine(self, ax: Axes, one: Information, colour: str) -> None:
        levels = np.array(one.noise_levels)
        measured, gaussian = (
            np.array([math.nan if size is None else size for size in sizes])
            for sizes in (one.critical_sizes(), one.gaussian_critical_sizes())
        )
        label = f"{plain(one.machine)}, measured"
        ax.plot(levels, measured, "o-", color=colour, linewidth=1.8, markersize=3.5, label=label)
        ax.plot(levels, gaussian, color=colour, linewidth=1.1, linestyle=_GAUSSIAN)
        fine = np.geomspace(levels[0], levels[-1], 200)
        most = float(one.ln_candidates[:, 0].mean())
        white = [white_critical_size(level, most, one.value_std, one.channels) for level in fine]
        ax.plot(fine, white, color=colour, linewidth=1.1, linestyle=_WHITE)
        if one.machine in self.scales:
            ax.plot(fine, [self.scales[one.machine](level) for level in fine], color=colour, **_SCALE)

    def _ticks(self) -> list[int]:
        """The patch sizes that were measured, as many as can be read."""
        ticks: list[int] = []
        for size in sorted({size for one in self.measured for size in one.patch_sizes}):
            if not ticks or size >= 1.25 * ticks[-1]:
                ticks.append(size)
        return ticks

    @property
    def _top(self) -> float:
        """The largest window that was measured."""
        return float(max(one.patch_sizes[-1] for one in self.measured))

    def _last_level(self) -> float:
        """The highest noise level at which some critical size is shown."""
        shown = [
            level
            for one in self.measured
            for level, white in zip(one.noise_levels, one.white_critical_sizes(), strict=True)
            if white <= self._top
        ]
        lowest = self.measured[0].noise_levels[0]
        return max([*shown, 2 * lowest])
