"""`patchmosaic results`: what has been measured, and two measurements of a kind side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from patchmosaic.cli.console import Json, print_json, say
from patchmosaic.cli.studies import show_table

if TYPE_CHECKING:
    from patchmosaic.experiments.papers.listing import Found


def results(
    roots: Annotated[
        list[Path] | None, typer.Argument(help="Folders in and below which to look; by default runs.", show_default=False)
    ] = None,
    metric: Annotated[str, typer.Option(help="What to compare: r, r2, R2, cosine, mse, patch_size ...")] = "r",
    json: Json = False,
) -> None:
    """List the results of experiments and comparisons; of two or more folders, set what they have in common side by side.

    Example: `patchmosaic results runs/papers/table1-cpu runs/papers/table1-full`
    """
    from patchmosaic.experiments.papers.listing import find_results, side_by_side

    places = roots or [Path("runs")]
    found = find_results(places)
    tables = side_by_side(found, metric) if len(places) > 1 else []
    if json:
        compared = [{"caption": table.caption, "head": list(table.head), "lines": table.lines} for table in tables]
        print_json({"results": [one.to_json() for one in found], "side_by_side": compared})
        return
    if not found:
        say(f"No results in {', '.join(map(str, places))}. `patchmosaic reproduce` and `patchmosaic compare` write some.")
        return
    _list(found)
    for table in tables:
        show_table(table)


def _list(found: list[Found]) -> None:
    for one in found:
        seconds = "" if one.seconds is None else f"{one.seconds:,.0f} s"
        facts = (one.what, one.scale, f"{one.finished[:16].replace('T', ' ')} UTC", seconds)
        say(f"[bold]{escape(str(one.folder))}[/]  {', '.join(fact for fact in facts if fact)}")
        if one.headline:
            say(f"    {escape(one.headline)}")
