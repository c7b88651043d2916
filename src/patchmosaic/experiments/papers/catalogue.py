"""The experiments by name, and what the command line does with one: rows from recipes, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.errors import PatchMosaicError
from patchmosaic.experiments.papers.attention import Attention
from patchmosaic.experiments.papers.ceiling import Ceiling
from patchmosaic.experiments.papers.early_training import EarlyTraining
from patchmosaic.experiments.papers.experiment import Experiment, reproduce
from patchmosaic.experiments.papers.improvements import Improvements
from patchmosaic.experiments.papers.locality_scales import LocalityScales
from patchmosaic.experiments.papers.memorising_transition import MemorisingTransition
from patchmosaic.experiments.papers.receptive_fields import ReceptiveFields
from patchmosaic.experiments.papers.recipe import Recipes, read_recipes
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.experiments.papers.steps_150 import Steps150
from patchmosaic.experiments.papers.table1 import Table1
from patchmosaic.progress import Progress, silent
from patchmosaic.runs import DataSource

EXPERIMENTS: dict[str, type[Experiment]] = {
    kind.name: kind
    for kind in (
        Table1,
        ReceptiveFields,
        LocalityScales,
        EarlyTraining,
        Steps150,
        Attention,
        MemorisingTransition,
        Ceiling,
        Improvements,
    )
}


def run_experiment(
    name: str,
    root: Path,
    scale: str = "cpu",
    rows: Sequence[str] | None = None,
    seeds: int | None = None,
    *,
    device: torch.device | str = "cpu",
    memory_budget: int = DEFAULT_BUDGET,
    progress: Progress = silent,
) -> Iterator[Experiment]:
    """Run an experiment on some rows; yields it after each, when everything known so far has been written.

    Args:
        name: one of `EXPERIMENTS`.
        root: the folder of rows and experiments; what is done there is not done again.
        scale: "cpu", "full", or the path of a recipe file.
        rows: names of rows; by default those that the recipes give the experiment.
        seeds: to compare, in place of the recipes' number.

    Raises:
        PatchMosaicError: no such experiment, scale or row.
    """
    if name not in EXPERIMENTS:
        raise PatchMosaicError("no such experiment", got=repr(name), hint=f"Known: {', '.join(EXPERIMENTS)}.")
    recipes = read_recipes(scale, seeds=seeds)
    made = _runs(recipes, root, device, memory_budget, progress)
    chosen = [made[recipe.name] for recipe in recipes.chosen(name, rows)]
    return reproduce(EXPERIMENTS[name](), chosen, root / f"{name}-{recipes.scale}")


def _runs(
    recipes: Recipes, root: Path, device: torch.device | str, memory_budget: int, progress: Progress
) -> dict[str, RowRun]:
    """All rows, lenders of locality scales before those that borrow."""
    runs: dict[str, RowRun] = {}
    pools: dict[DataSource, ImageSet] = {}
    for recipe in sorted(recipes.rows.values(), key=lambda recipe: recipe.scales_from is not None):
        lender = None if recipe.scales_from is None else runs[recipe.scales_from]
        runs[recipe.name] = RowRun(
            root, recipe, lender=lender, pools=pools, device=device, memory_budget=memory_budget, progress=progress
        )
    return runs
