"""What the verbs that run a study share: its scale, one bar after another, and the form in which pictures take its outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from patchmosaic.cli.console import progress_bars, stderr
from patchmosaic.progress import Progress

if TYPE_CHECKING:
    from patchmosaic.experiments.outcomes import Outcome
    from patchmosaic.experiments.papers.tables import ResultTable
    from patchmosaic.plots import VariantResult

Found = TypeVar("Found")


class Size(StrEnum):
    """How large a study is."""

    cpu = "cpu"
    full = "full"


def resized(scale: Any, **changes: Any) -> Any:
    """A study's scale with some of its numbers given in place of its own; None keeps its own."""
    from dataclasses import replace

    return replace(scale, **{name: value for name, value in changes.items() if value is not None})


def one_by_one(start: Callable[[Progress], Iterator[Found]]) -> Iterator[Found]:
    """What `start(progress)` yields, with new bars for each: all together would not fit on a screen."""
    shown: Progress

    def tell(what: str, done: int, total: int) -> None:
        shown(what, done, total)

    work = start(tell)
    while True:
        with progress_bars() as shown:
            found = next(work, None)
        if found is None:
            return
        yield found


def show_table(result: ResultTable) -> None:
    """A table of results, for the reader at the terminal."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(result.caption), title_justify="left")
    for head in result.head:
        table.add_column(escape(head), overflow="fold")
    for line in result.lines:
        table.add_row(*map(escape, line))
    stderr.print(table)


def as_result(outcome: Outcome, *, errors: bool = False) -> VariantResult:
    """What the pictures show of an outcome; with `errors`, its denoising errors too."""
    from patchmosaic.plots import VariantResult

    return VariantResult(
        outcome.factor,
        outcome.name,
        outcome.title,
        outcome.samples[0],
        outcome.nearest_ratio,
        outcome.median_agreement,
        outcome.realism,
        outcome.errors("train") if errors else [],
        outcome.errors("test") if errors else [],
    )
