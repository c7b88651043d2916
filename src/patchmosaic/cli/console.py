"""What all verbs share of the terminal: progress with time left, errors without a trace, JSON on request.

People read standard error, programs read standard output: with --json a verb prints one JSON object there and nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from patchmosaic.progress import Progress as ProgressCallback
from patchmosaic.progress import heard_inside, remark_of

stderr = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on standard output.")]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1 ...")]
Budget = Annotated[float, typer.Option("--memory-budget", help="GiB that an analytic denoiser may allocate.", min=0.001)]


def budget_bytes(gibibytes: float) -> int:
    """A memory budget as the library takes it."""
    return int(gibibytes * 2**30)


def say(message: str) -> None:
    """One line for the reader."""
    stderr.print(message)


def print_json(result: Any) -> None:
    """The result, for a program."""
    typer.echo(json.dumps(result, allow_nan=False))


@contextmanager
def progress_bars() -> Iterator[ProgressCallback]:
    """A progress callback that draws one bar for each piece of work, with the time it still needs; in a log file, lines."""
    if not stderr.is_terminal:
        lines = _progress_lines()
        with heard_inside(lines):
            yield lines
        return
    whole = Column(no_wrap=True)  # on a narrow terminal only the bar gives way
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(table_column=whole.copy()),
        TimeElapsedColumn(table_column=whole.copy()),
        TextColumn("elapsed,"),
        TimeRemainingColumn(table_column=whole.copy()),
        TextColumn("left"),
        TextColumn("{task.fields[remark]}", style="dim"),
    )
    with Progress(*columns, console=stderr) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, remark="")
            bars.update(tasks[what], completed=done, total=total, remark=remark_of(what))

        with heard_inside(advance):
            yield advance


LINE_EVERY = 30.0  # seconds


def _progress_lines() -> ProgressCallback:
    started: dict[str, float] = {}
    told: dict[str, float] = {}
    reached: dict[str, int] = {}

    def advance(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < reached.get(what, 0):  # the same work once more
            started[what] = now
        reached[what] = done
        begun = started.setdefault(what, now)
        if done < total and now - told.setdefault(what, begun) < LINE_EVERY:
            return
        told[what] = now
        left = (now - begun) * (total - done) / max(done, 1)
        remark = f", {remark_of(what)}" if remark_of(what) else ""
        say(f"{what}: {done} of {total}, {now - begun:.0f} s elapsed, about {left:.0f} s left{remark}")

    return advance
