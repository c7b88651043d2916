"""`patchmosaic trace`: why one pixel is as it is."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchmosaic.cli.console import Budget, Device, Json, budget_bytes, print_json, progress_bars, say

if TYPE_CHECKING:
    from patchmosaic.data import ImageSet
    from patchmosaic.denoisers import PosteriorDenoiser
    from patchmosaic.provenance import Provenance

MAPS = 7  # noise levels of which the belief is shown
STEPS = (5, 10, 20, 40, 80, 160)  # of the drawings that are checked for consistency


class TableFormat(StrEnum):
    csv = "csv"
    json = "json"
    parquet = "parquet"


def trace(
    source: Annotated[str, typer.Argument(help="A run folder, or data as for `train`.")],
    denoiser: Annotated[str, typer.Option(help="bbELS, ELS, LS, IS or ES.")] = "bbELS",
    seed: Annotated[int, typer.Option(help="Which noise, as for `sample`.", min=0)] = 0,
    label: Annotated[
        str | None, typer.Option("--class", help="The class to draw, name or number; by default that of `sample`.")
    ] = None,
    pixel: Annotated[str | None, typer.Option(help="ROW,COLUMN from 0; by default one that is telling.")] = None,
    steps: Annotated[int, typer.Option(help="DDIM steps.", min=1)] = 20,
    step: Annotated[int | None, typer.Option(help="Explain the picture after so many of them; by default the last.")] = None,
    top: Annotated[int, typer.Option(help="How many sources of each pixel to tell.", min=1)] = 8,
    patch_size: Annotated[
        int | None,
        typer.Option(help="One at all noise levels; by default a run's calibrated scale; of data, one that shrinks to 3."),
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="For data: resize to this side.")] = None,
    limit: Annotated[int | None, typer.Option(help="For data: use the first so many images.")] = None,
    table: Annotated[TableFormat, typer.Option(help="Of the tables.")] = TableFormat.csv,
    consistency: Annotated[
        int | None,
        typer.Option(help="Also draw seeds 0 to this in 5 to 160 steps, and count the centres of nearest patches.", min=1),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures and tables.")] = None,
    memory_budget: Budget = 1.0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Draw one seed in closed form, and tell of every pixel which training patches it comes from.

    Writes mosaic.png (the pieces of the picture and the images they come from), pixel.png (what one pixel sees and believes),
    beliefs.png (how the pixels make up their minds), provenance.csv (a row for each source of each pixel), pixels.csv (a row
    for each pixel) and trace.json.

    Examples: `patchmosaic trace digits --seed 3`, `patchmosaic trace runs/fashion --class Trouser --pixel 12,9`,
    `patchmosaic trace fashion_mnist --limit 2000 --patch-size 7 --class Trouser --seed 3`
    """
    from patchmosaic.errors import PatchMosaicError
    from patchmosaic.files import write_json
    from patchmosaic.provenance.explanation import class_title
    from patchmosaic.runs import manifest
    from patchmosaic.sampling import seed_labels

    started = time.monotonic()
    step = steps if step is None else step
    if not 1 <= step <= steps:
        raise PatchMosaicError(f"--step is from 1 to {steps}, the number of steps", got=step)
    machine, folder = _machine(source, denoiser, patch_size, image_size, limit, steps, budget_bytes(memory_budget), device)
    folder = out or folder / f"{denoiser}-seed-{seed}"
    number = None if label is None else _class_number(label, machine.pool)
    if number is None and machine.classes:
        number = int(seed_labels([seed], machine.classes)[0])
    title = f"{denoiser}, seed {seed}"
    if number is not None:
        title += f", {class_title(machine.pool, number)}"
    if step < steps:
        title += f", step {step} of {steps}"
    asked = None if pixel is None else _pixel(pixel, *machine.image_shape[1:])
    along, levels = _follow(machine, seed, number, steps, step, top)
    result = _write(folder, machine, title, along, levels, asked, table.value)
    if consistency is not None:
        result["consistency"] = _check(folder, machine, denoiser, consistency)
        result["files"].append("consistency.png")
    facts = manifest(pool=machine.pool.content_hash, label=number, seconds=round(time.monotonic() - started, 1))
    write_json(folder / "trace.json", {**result, "machine": machine.describe(), "manifest": facts})
    say("\n".join([f"[bold]{result['question']}[/]", *result["answer"], "", result["drawing"]]))
    say(f"In {folder}: {', '.join([*result['files'], 'trace.json'])}")
    if json:
        print_json({"folder": str(folder), **result})


def _machine(
    source: str,
    name: str,
    patch_size: int | None,
    image_size: int | None,
    limit: int | None,
    steps: int,
    memory_budget: int,
    device: str,
) -> tuple[PosteriorDenoiser, Path]:
    """The machine, and the folder for what is traced with it."""
    from patchmosaic.denoisers import PosteriorDenoiser
    from patchmosaic.errors import PatchMosaicError
    from patchmosaic.locality import LocalityScale
    from patchmosaic.noise import CosineSchedule
    from patchmosaic.runs import DataSource, Run, build_machine

    run = Run(Path(source)) if (Path(source) / "run.json").exists() else None
    if run is not None:
        pool, schedule, folder = run.pool, run.network().schedule, run.folder / "trace"
    else:
        with progress_bars() as progress:
            pool = DataSource(source, image_size, limit=limit).load(progress)
        schedule, folder = CosineSchedule(), Path("trace")
    if run is not None and patch_size is None:
        machine = run.machine(name, schedule=schedule, memory_budget=memory_budget)
    else:
        size = patch_size or LocalityScale.shrinking(schedule, max(pool.image_shape[1:]), steps)
        machine = build_machine(name, pool, size, schedule=schedule, memory_budget=memory_budget)
    if not isinstance(machine, PosteriorDenoiser):
        raise PatchMosaicError("this machine averages no training patches", got=name, hint="Try bbELS, ELS, LS, IS or ES.")
    return machine.to(device), folder


def _class_number(name: str, pool: ImageSet) -> int:
    """The class that a person means, by its name or its number."""
    from patchmosaic.errors import LabelError

    named = [number for number, known in enumerate(pool.class_names) if known == name]
    if not named and not name.isdecimal():
        raise LabelError("no class of this name", got=repr(name), hint=f"Known: {', '.join(pool.class_names) or 'none'}.")
    return named[0] if named else int(name)


def _pixel(text: str, height: int, width: int) -> tuple[int, int]:
    """ROW,COLUMN as two numbers."""
    from patchmosaic.errors import PatchMosaicError

    row, _, column = (part.strip() for part in text.partition(","))
    if not (row.isdecimal() and column.isdecimal() and int(row) < height and int(column) < width):
        raise PatchMosaicError(
            f"--pixel is ROW,COLUMN of {height} x {width} pixels, counted from 0 at the upper left", got=repr(text)
        )
    return int(row), int(column)


def _follow(
    machine: PosteriorDenoiser, seed: int, label: int | None, steps: int, step: int, top: int
) -> tuple[list[Provenance], list[float]]:
    """Where the pixels come from, at a few noise levels down to that of `step`, and these levels."""
    from patchmosaic.provenance import trace as traced
    from patchmosaic.sampling import ddim, seeds

    x_T = seeds([seed], machine.image_shape) * machine.schedule.prior_std()
    shown = sorted({(step - 1) * i // (MAPS - 1) for i in range(MAPS)})
    along = []
    with progress_bars() as progress:
        for i, state in zip(range(step), ddim(machine, x_T.to(machine.device), steps, label), strict=False):
            if i in shown:
                along.append(traced(machine, state.x_t, state.t, label, top=top))
            progress("drawing and tracing", i + 1, step)
    return along, [float(machine.schedule.noise_level(provenance.t)) for provenance in along]


def _write(
    folder: Path,
    machine: PosteriorDenoiser,
    title: str,
    along: list[Provenance],
    levels: list[float],
    pixel: tuple[int, int] | None,
    table: str,
) -> dict[str, Any]:
    """Write tables and pictures; returns what there is to say."""
    from patchmosaic.plots.belief_maps import BeliefMapsDisplay
    from patchmosaic.plots.mosaic import MosaicDisplay
    from patchmosaic.plots.pixel_sources import PixelSourcesDisplay
    from patchmosaic.provenance.explanation import answer, question, telling_pixel
    from patchmosaic.provenance.export import pixels_table, save_table, sources_table

    provenance = along[-1]
    chosen = pixel or telling_pixel(provenance)
    one = PixelSourcesDisplay(provenance, chosen)
    mosaic = MosaicDisplay.from_provenance(provenance, title=title)
    files = [
        mosaic.save(folder / "mosaic.png"),
        one.save(folder / "pixel.png"),
        BeliefMapsDisplay.from_provenances(along, levels, title=title).save(folder / "beliefs.png"),
        save_table(sources_table(provenance), folder / f"provenance.{table}"),
        save_table(pixels_table(provenance), folder / f"pixels.{table}"),
    ]
    return {
        "pixel": list(chosen),
        "question": question(provenance, chosen),
        "answer": answer(provenance, chosen),
        "drawing": f"{mosaic.heading}.",
        "mosaic": mosaic.mosaic.summary(),
        "noise_level": levels[-1],
        "patch_size": provenance.patch_size,
        "files": [path.name for path in files],
    }


def _check(folder: Path, machine: PosteriorDenoiser, name: str, seeds: int) -> dict[str, Any]:
    """Draw in more and more steps, and count consistent pixels."""
    from patchmosaic.plots.consistency import ConsistencyDisplay
    from patchmosaic.provenance.consistency import consistency

    with progress_bars() as progress:
        study = consistency(machine, seeds, STEPS, name=name, keep=folder / "seeds", progress=progress)
    ConsistencyDisplay([study]).save(folder / "consistency.png")
    shares = ", ".join(f"{share:.0%} in {steps}" for steps, share in zip(study.steps, study.mean, strict=True))
    say(f"Pixels that are the centre of their nearest training patch, by DDIM steps: {shares}.")
    return study.to_json()
