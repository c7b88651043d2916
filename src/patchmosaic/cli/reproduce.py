"""`patchmosaic reproduce`: the experiments of the papers, with published numbers beside measured ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from patchmosaic.cli.console import Budget, Device, Json, budget_bytes, print_json, say
from patchmosaic.cli.studies import one_by_one, show_table

if TYPE_CHECKING:
    from patchmosaic.experiments.papers.experiment import Experiment


def reproduce(
    experiment: Annotated[
        str,
        typer.Argument(
            help="table1, receptive-fields, locality-scales, early-training, steps-150, attention, memorising-transition,"
            " ceiling or improvements."
        ),
    ],
    run: Annotated[Path, typer.Option(help="The folder of all rows and experiments; taken up if it is there.")] = Path(
        "runs/papers"
    ),
    scale: Annotated[
        str,
        typer.Option(
            help="quick: a first look; cpu: half an hour a row on two cores; full: the paper's, for a GPU; or a recipe file,"
            " .toml."
        ),
    ] = "cpu",
    row: Annotated[
        list[str] | None,
        typer.Option(help="A row of table 1, such as mnist-resnet; repeat for several. By default the recipe's choice."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Compare on so many seeds, in place of the recipe's number.", min=1)] = None,
    memory_budget: Budget = 1.0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Run an experiment of the papers on some rows of table 1: networks are trained, calibrated and compared as it needs.

    Rows are ordinary run folders, shared by all experiments. Results, tables and pictures are written after each row. Killed at
    any moment, the same command goes on and loses one seed at most.

    Example: `patchmosaic reproduce table1 --row mnist-resnet --row fashion-resnet`
    """
    from patchmosaic.experiments.papers.catalogue import run_experiment

    found: Experiment | None = None
    budget = budget_bytes(memory_budget)
    for found in one_by_one(
        lambda progress: run_experiment(
            experiment, run, scale, row, seeds, device=device, memory_budget=budget, progress=progress
        )
    ):
        say(escape(found.headline()) if found.titles else "No row so far could be measured.")
    if found is None:
        return
    if json:
        print_json(_told(found))
    else:
        _tell(found)
        say(f"Results, tables and pictures in {escape(str(run))}: `patchmosaic results {escape(str(run))}` lists them.")


def _told(found: Experiment) -> dict[str, Any]:
    """Headline and statistics; the raw values are in the folder."""
    record = found.to_json()
    return {name: record[name] for name in ("experiment", "headline", "rows", "missing", "summary")}


def _tell(found: Experiment) -> None:
    for table in found.tables() if found.titles else []:
        show_table(table)
    for title, why in found.missing.items():
        say(escape(f"{title}: not measured. {why}"))
