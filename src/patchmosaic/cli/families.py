"""`patchmosaic families`: what families of analytic denoisers generate, on small targets and on images."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchmosaic.cli.console import Device, Json, print_json, progress_bars, say
from patchmosaic.cli.studies import Size, as_result, one_by_one, resized
from patchmosaic.cli.train import absolute

if TYPE_CHECKING:
    from patchmosaic.experiments.families.small_targets import SmallOutcome
    from patchmosaic.experiments.families.study import FamilyOutcome


SAME = 1e-6  # points closer than this are the same to a reader


def families(
    data: Annotated[str, typer.Argument(help="Images, as for `train`.")] = "digits",
    run: Annotated[Path, typer.Option(help="The folder of the study; made if it is not there, taken up if it is.")] = Path(
        "runs/families"
    ),
    scale: Annotated[Size, typer.Option(help="cpu: a minute on digits, some on 28 x 28 pixels; full: some hours.")] = Size.cpu,
    image_size: Annotated[int | None, typer.Option(help="Resize to this side; by default images stay as they are.")] = None,
    images: Annotated[int | None, typer.Option(help="Images in each half, in place of the scale's.", min=4)] = None,
    seeds: Annotated[int | None, typer.Option(help="Samples of each family, in place of the scale's.", min=2)] = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Draw from linear, polynomial, bottleneck, patch and whole-image denoisers with the same seeds; compare with their laws.

    Nothing is trained. First come targets that can be seen, two Gaussians on the line and a ring: density.png, ring.png and
    arcsine.png show target, predicted law and samples. Then images, on two disjoint halves of the data: samples.png shows what
    each family draws, families.png whether it copies, whether other images would have made a difference, and how real it is.
    All numbers are in results.json. Killed at any moment, the same command goes on.

    Example: `patchmosaic families digits --run runs/digits-families`
    """
    from patchmosaic.experiments.families.images import SCALES
    from patchmosaic.runs import DataSource

    size = resized(SCALES[scale.value], images=images, seeds=seeds)
    result = run_families(run, DataSource(absolute(data), image_size), size, device)
    if json:
        print_json(result)


def run_families(folder: Path, source: Any, scale: Any, device: str) -> dict[str, Any]:
    """Run the study in a run folder and draw its pictures; returns its numbers."""
    from patchmosaic.experiments.architectures.study import parts
    from patchmosaic.experiments.families.study import results, small_study, study
    from patchmosaic.files import write_json
    from patchmosaic.runs import Run, manifest

    started = time.monotonic()
    with progress_bars() as progress:
        pool = source.load(progress)
    Run.create(folder, source, pool)
    images = parts(pool, scale)
    with progress_bars() as progress:
        small = small_study(folder, progress=progress)
    draw_small(folder, small)
    outcomes: list[FamilyOutcome] = []
    for outcome in one_by_one(lambda progress: study(folder, images, scale, device=device, progress=progress)):
        outcomes.append(outcome)
        write_json(folder / "results.json", record := results(small, outcomes, images, scale))
    facts = manifest(pool=pool.content_hash, device=device, seconds=round(time.monotonic() - started, 1))
    write_json(folder / "manifest.json", facts)
    draw_images(folder, outcomes, images.held_out.at(slice(9)), record["held_out"])
    _tell_laws(small, outcomes)
    _tell_images(outcomes, record["held_out"])
    say(f"Results and pictures in {folder}: density.png, ring.png, arcsine.png, samples.png, families.png, results.json")
    return record


def draw_small(folder: Path, small: dict[str, dict[str, SmallOutcome]]) -> None:
    """Write the pictures of the small targets."""
    import numpy as np

    from patchmosaic.data.targets import polygon
    from patchmosaic.experiments.families.small_targets import ARCSINE_EDGES, LINE_EDGES
    from patchmosaic.plots import DensitiesDisplay, DensityResult, PointsDisplay, PointsResult

    def density(outcome: SmallOutcome) -> DensityResult:
        numbers = outcome.numbers
        target = np.array(numbers["target"]) if "target" in numbers else None
        samples, predicted = outcome.samples[:, 0].numpy(), np.array(numbers["predicted"])
        return DensityResult(outcome.title, samples, predicted, target, max(numbers["wasserstein"]))

    def points(outcome: SmallOutcome) -> PointsResult:
        fitted, twin = outcome.family.points, outcome.family.twin
        note = ""
        if twin is not None:
            difference = outcome.numbers["difference"]
            note = f"as for the ring, to {difference:.0e}" if difference < SAME else f"off the ring's by up to {difference:.1f}"
        return PointsResult(outcome.title, outcome.samples.numpy(), None if fitted is None else fitted.numpy(), note)

    line, ring, arcsine = ([*small[target].values()] for target in ("line", "ring", "arcsine"))
    DensitiesDisplay([density(outcome) for outcome in line], LINE_EDGES).save(folder / "density.png")
    DensitiesDisplay([density(outcome) for outcome in arcsine], ARCSINE_EDGES, "the code").save(folder / "arcsine.png")
    PointsDisplay([points(outcome) for outcome in ring], polygon(180).numpy()).save(folder / "ring.png")


def draw_images(folder: Path, outcomes: list[FamilyOutcome], real: Any, held_out: dict[str, float]) -> None:
    """Write the pictures of the families of images."""
    from patchmosaic.plots import FamilyMapDisplay, VariantSamplesDisplay

    results = [as_result(outcome) for outcome in outcomes]
    VariantSamplesDisplay(results, (real, held_out["realism"])).save(folder / "samples.png")
    FamilyMapDisplay(results, (held_out["nearest_ratio"], held_out["realism"])).save(folder / "families.png")


def _tell_laws(small: dict[str, dict[str, SmallOutcome]], outcomes: list[FamilyOutcome]) -> None:
    """Samples beside their laws, of all targets."""
    from rich.table import Table

    from patchmosaic.cli.console import stderr

    laws = [(target, title, outcome.numbers) for target, some in small.items() for title, outcome in some.items()]
    laws += [("images", outcome.title, outcome.law) for outcome in outcomes if outcome.law is not None]
    table = Table(
        title="Samples beside their predicted law; moments as fractions of its spread, W1 and KS along its axes, worst"
    )
    for column in ("target", "denoiser", "samples", "mean", "variance", "W1", "KS", "off support"):
        table.add_column(column, justify="left" if column in ("target", "denoiser") else "right")
    for target, title, numbers in laws:
        if "count" not in numbers:  # no law is known
            continue
        table.add_row(
            target,
            title,
            f"{numbers['count']:,}",
            f"{numbers['mean_error']:.3f}",
            f"x {numbers['variance_ratio']:.3f}",
            f"{max(numbers['wasserstein']):.3f}",
            f"{max(numbers['ks']):.3f}" if "ks" in numbers else "points",
            f"{numbers['off_support']:.0e}",
        )
    stderr.print(table)


def _tell_images(outcomes: list[FamilyOutcome], held_out: dict[str, float]) -> None:
    from rich.table import Table

    from patchmosaic.cli.console import stderr

    table = Table(title="Medians over seeds; realism is a distance: less is more like held-out images")
    for column in ("family", "realism", "halves agree, r", "nearest / second", "copies", "escaped"):
        table.add_column(column, justify="left" if column == "family" else "right")
    for outcome in outcomes:
        table.add_row(
            outcome.title,
            f"{outcome.realism:.3f}",
            f"{outcome.median_agreement:.3f}",
            f"{outcome.nearest_ratio:.3f}",
            f"{outcome.copies:.0%}",
            "" if outcome.escaped is None else f"{outcome.escaped:.1%}",
        )
    table.add_row("real images, held out", f"{held_out['realism']:.3f}", "", f"{held_out['nearest_ratio']:.3f}", "", "")
    stderr.print(table)
