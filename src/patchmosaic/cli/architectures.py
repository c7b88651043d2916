"""`patchmosaic architectures`: what the architecture of a network does to what it draws."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchmosaic.cli.console import Device, Json, print_json, progress_bars, say
from patchmosaic.cli.studies import Size, as_result, one_by_one, resized
from patchmosaic.cli.train import absolute

if TYPE_CHECKING:
    from patchmosaic.experiments.outcomes import Outcome

DEFAULT_DATA = "fashion_mnist"


def architectures(
    data: Annotated[
        str | None,
        typer.Argument(help=f"Images, as for `train`; by default {DEFAULT_DATA} where $PATCHMOSAIC_DATA has it, else digits."),
    ] = None,
    run: Annotated[Path, typer.Option(help="The folder of the study; made if it is not there, taken up if it is.")] = Path(
        "runs/architectures"
    ),
    scale: Annotated[Size, typer.Option(help="cpu: about 45 minutes on two cores; full: for a GPU.")] = Size.cpu,
    image_size: Annotated[
        int | None, typer.Option(help="Resize to this side, a multiple of 4; by default images stay as they are.")
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="Run this one and the base only, such as 'padding: circular'; repeat for several.")
    ] = None,
    images: Annotated[int | None, typer.Option(help="Images in each half, in place of the scale's.", min=4)] = None,
    width: Annotated[int | None, typer.Option(help="Of the base UNet, in place of the scale's.", min=2)] = None,
    steps: Annotated[int | None, typer.Option(help="Adam steps of each network, in place of the scale's.", min=1)] = None,
    seeds: Annotated[int | None, typer.Option(help="Samples of each network, in place of the scale's.", min=2)] = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train UNets that differ from a base in one thing, and MLPs of growing width; compare what they draw from the same seeds.

    Each is trained on two disjoint halves of the images. Measured are copies of training images, denoising errors, agreement of
    the two, and the distance of the samples from held-out images. After each variant results.json, manifest.json,
    architectures.png, samples.png and errors.png are written. Killed at any moment, the same command goes on.

    Example: `patchmosaic architectures digits --run runs/digits-architectures --steps 500`
    """
    from patchmosaic.data import found
    from patchmosaic.experiments.architectures.variants import SCALES
    from patchmosaic.runs import DataSource

    size = resized(SCALES[scale.value], images=images, width=width, steps=steps, seeds=seeds)
    name = data or (DEFAULT_DATA if DEFAULT_DATA in found() else "digits")
    result = run_study(run, DataSource(absolute(name), image_size), size, variant, device)
    if json:
        print_json(result)


def run_study(folder: Path, source: Any, scale: Any, names: list[str] | None, device: str) -> dict[str, Any]:
    """Run the study in a run folder and draw its pictures; returns the table."""
    from patchmosaic.experiments.architectures.study import study
    from patchmosaic.files import write_json
    from patchmosaic.runs import Run, manifest

    started = time.monotonic()
    with progress_bars() as progress:
        pool = source.load(progress)
    Run.create(folder, source, pool)
    outcomes: list[Outcome] = []
    for outcome in one_by_one(lambda progress: study(folder, pool, scale, names, device=device, progress=progress)):
        outcomes.append(outcome)
        facts = manifest(pool=pool.content_hash, device=device, seconds=round(time.monotonic() - started, 1))
        write_json(folder / "manifest.json", facts)
        draw(folder, pool, scale, outcomes)
    _tell(outcomes)
    say(f"Results and pictures in {folder}: architectures.png, samples.png, errors.png, results.json")
    return {outcome.title: outcome.summary() for outcome in outcomes}


def draw(folder: Path, pool: Any, scale: Any, outcomes: list[Outcome]) -> None:
    """Write the three pictures of the study."""
    from patchmosaic.experiments.architectures.study import parts
    from patchmosaic.files import read_json
    from patchmosaic.plots import VariantErrorsDisplay, VariantMapDisplay, VariantSamplesDisplay

    record = read_json(folder / "results.json")
    real = record["held_out"]
    results = [as_result(outcome, errors=True) for outcome in outcomes]
    shown = parts(pool, scale).held_out.at(slice(9))
    VariantSamplesDisplay(results, (shown, real["realism"])).save(folder / "samples.png")
    VariantMapDisplay(results, (real["nearest_ratio"], real["realism"])).save(folder / "architectures.png")
    if len(results) > 1:
        VariantErrorsDisplay(results, record["noise_levels"]).save(folder / "errors.png")


def _tell(outcomes: list[Outcome]) -> None:
    from rich.table import Table

    from patchmosaic.cli.console import stderr

    table = Table(title="Medians over seeds; realism is a distance: less is more like held-out images")
    for column in ("variant", "parameters", "realism", "halves agree, r", "nearest / second", "copies"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for outcome in outcomes:
        table.add_row(
            outcome.title,
            f"{outcome.parameters:,}",
            f"{outcome.realism:.3f}",
            f"{outcome.median_agreement:.3f}",
            f"{outcome.nearest_ratio:.3f}",
            f"{outcome.copies:.0%}",
        )
    stderr.print(table)
