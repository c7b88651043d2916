"""Tables of results, as Markdown for documents and as rich tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchmosaic.metrics import Interval
from patchmosaic.plots.style import signed


@dataclass(frozen=True)
class ResultTable:
    """Cells of text under a head; `caption` says how to read them."""

    caption: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The caption, and a table that is right-aligned but for its first column."""
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        rows = ["| " + " | ".join(cells) + " |" for cells in (self.head, rule, *self.lines)]
        return f"{self.caption}\n\n" + "\n".join(rows) + "\n"


def cell(interval: Interval, published: float | None = None) -> str:
    """A median with its interval, and the published number in parentheses."""
    said = "" if published is None else f" ({signed(published)})"
    return f"{signed(interval.value)} [{signed(interval.low)}, {signed(interval.high)}]{said}"
