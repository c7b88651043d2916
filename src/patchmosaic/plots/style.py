"""The one look of every picture: themes, type sizes, and a colour and order for each machine.

The colours were chosen by search: seen with normal vision, protanopia, deuteranopia or tritanopia every two of them stay 25 or
more apart in CIELAB, and each has a contrast of about 3 or more against both themes' paper. A machine has the same colour in
every picture; text is never coloured, so that nothing hangs on colour alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchmosaic.comparison import Comparison
from patchmosaic.errors import PatchMosaicError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Points. Figures are drawn at the width at which a journal prints them, 3.4 inches a column and 7 a page.
SMALL, BODY, TITLE = 6.5, 7.5, 8.5
COLUMN, PAGE = 3.4, 7.0


@dataclass(frozen=True)
class Theme:
    """What a picture is drawn on and with."""

    paper: str
    ink: str
    muted: str
    rule: str


LIGHT = Theme(paper="#ffffff", ink="#1b1c20", muted="#63656f", rule="#d8d9df")
DARK = Theme(paper="#16171b", ink="#ececf1", muted="#a3a5b0", rule="#3b3d46")

COLOURS = {
    "ELS": "#239bfa",
    "bbELS": "#894aa1",
    "LS": "#1a6f41",
    "ES": "#7728fa",
    "IS": "#c95d00",
    "Wiener": "#989697",
}
# Machines under names of the user's own, in the order they come.
SPARE_COLOURS = ("#00a6a6", "#b0457a", "#8a7a00", "#5c6ac4", "#a0522d", "#4f8a10")
# From top to bottom of every picture: what is local first, then the baselines, which close the list after names of the user's.
FIRST, LAST = ("ELS", "bbELS", "LS"), ("ES", "IS", "Wiener")


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each machine: its own where it has one, else a spare one by its place among the others."""
    others = [name for name in names if name not in COLOURS]
    return COLOURS | {name: SPARE_COLOURS[i % len(SPARE_COLOURS)] for i, name in enumerate(others)}


def ordered(names: Iterable[str]) -> list[str]:
    """Machines in the order of every picture: ELS, bbELS, LS, other names, ES, IS, Wiener."""
    given = list(names)
    others = [name for name in given if name not in FIRST and name not in LAST]
    return [name for name in (*FIRST, *others, *LAST) if name in given]


def known_machines(comparison: Comparison, machines: Sequence[str] | None = None) -> list[str]:
    """`machines` as given, or all of the comparison in the order of every picture.

    Raises:
        PatchMosaicError: the comparison has no such machine.
    """
    if machines is None:
        return ordered(comparison.images)
    for name in machines:
        if name not in comparison.images:
            raise PatchMosaicError(
                "this machine is not in the comparison", got=repr(name), hint=f"Known: {', '.join(comparison.images)}."
            )
    return list(machines)


def signed(value: float, digits: int = 2) -> str:
    """A number as it is printed: with a true minus sign, and no minus before a rounded zero."""
    return f"{value:z.{digits}f}".replace("-", "−")


def plain(text: str) -> str:
    """Text that matplotlib takes literally, not as mathematics."""
    return text.replace("$", r"\$")


def folded(text: str, width: int, lines: int = 2) -> str:
    """Text on at most `lines` lines of `width` characters, the rest an ellipsis; taken literally."""
    return plain("\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder="…")) or text[:width])


def fitted(text: str, width: float, size: float) -> str:
    """As much of the text as is at most `width` inches long at `size` points, the rest an ellipsis; taken literally."""
    from matplotlib.textpath import TextPath

    for kept in range(len(text), 0, -1):
        short = plain(text if kept == len(text) else text[:kept].rstrip() + "…")
        if TextPath((0, 0), short, size=size).get_extents().width <= width * 72:
            return short
    return "…" if text else ""


def new_axes(width: float, height: float, theme: Theme) -> Axes:
    """The one axes of a new figure, `width` by `height` inches, belonging to no window and no global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=theme.paper, layout="constrained")
    return figure.subplots()


def plain_log(axis: Axis, subs: Sequence[float] = (1.0,)) -> None:
    """Ticks of a log axis written out, 0.1 1 10, at `subs` of each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def dress(ax: Axes, theme: Theme, *, title: str = "", xlabel: str = "", ylabel: str = "", grid: str = "") -> None:
    """Give `ax` the common look. `grid` is "x", "y", "both" or nothing. Settings of matplotlib's own are left alone."""
    ax.set_facecolor(theme.paper)
    ax.set_axisbelow(True)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.rule)
        spine.set_linewidth(0.8)
    ax.tick_params(which="both", labelsize=SMALL, colors=theme.muted, color=theme.rule, length=2.5, width=0.6)
    if grid:
        ax.grid(axis=grid, color=theme.rule, linewidth=0.5, alpha=0.7)  # type: ignore[arg-type]
    ax.set_title(title, loc="left", fontsize=TITLE, color=theme.ink, pad=7)
    ax.set_xlabel(xlabel, fontsize=BODY, color=theme.muted)
    ax.set_ylabel(ylabel, fontsize=BODY, color=theme.muted)
