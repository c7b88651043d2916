"""`patchmosaic limbs`: excess limbs, and the locality that makes them."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchmosaic.cli.console import Device, Json, print_json, progress_bars, say
from patchmosaic.cli.studies import Size, resized

if TYPE_CHECKING:
    from patchmosaic.experiments.limbs import LimbResult


class SubjectName(StrEnum):
    """What is drawn."""

    hands = "hands"
    stick_figures = "stick figures"
    trousers = "trousers"
    fashion_mnist = "fashion_mnist"


def limbs(
    subject: Annotated[
        SubjectName, typer.Argument(help="What to draw; fashion_mnist is its class of trousers.")
    ] = SubjectName.hands,
    run: Annotated[Path, typer.Option(help="The folder of the experiment; made if it is not there, taken up if it is.")] = Path(
        "runs/limbs"
    ),
    scale: Annotated[Size, typer.Option(help="cpu: some minutes on two cores; full: hours, or a GPU.")] = Size.cpu,
    machine: Annotated[list[str] | None, typer.Option(help="Which patch machine; repeat for several.")] = None,
    images: Annotated[int | None, typer.Option(help="Figures in the pool, in place of the scale's.", min=2)] = None,
    image_size: Annotated[int | None, typer.Option(help="Pixels a side, in place of the scale's.", min=24)] = None,
    seeds: Annotated[int | None, typer.Option(help="Samples of each denoiser, in place of the scale's.", min=1)] = None,
    steps: Annotated[int | None, typer.Option(help="DDIM steps, in place of the scale's.", min=1)] = None,
    training_steps: Annotated[int | None, typer.Option(help="Of the network, in place of the scale's.", min=1)] = None,
    patch_size: Annotated[list[int] | None, typer.Option(help="P at low noise; repeat for several.")] = None,
    below: Annotated[float | None, typer.Option(help="The noise level below which P holds, in place of the scale's.")] = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Count the limbs of what a network and the patch machines draw, with tighter and looser locality at low noise.

    Each subject has a folder in the run: limbs.png shows the share of wrong counts against the patch size at low noise,
    gallery-bbELS.png what they look like, results.json all numbers. Killed at any moment, the same command goes on.

    Example: `patchmosaic limbs hands --run runs/limbs`
    """
    from patchmosaic.experiments.limbs import SCALES

    size = resized(
        SCALES[scale.value],
        machines=tuple(machine) if machine else None,
        images=images,
        image_size=image_size,
        seeds=seeds,
        steps=steps,
        training_steps=training_steps,
        patch_sizes=tuple(sorted(patch_size)) if patch_size else None,
        below=below,
    )
    result = run_limbs(run / subject.value.replace(" ", "-"), subject.value, size, device)
    if json:
        print_json(result.to_json())


def run_limbs(folder: Path, subject: str, scale: Any, device: str) -> LimbResult:
    """Run the experiment on one subject in its folder and draw its pictures."""
    from patchmosaic.experiments.limbs import study
    from patchmosaic.files import write_json
    from patchmosaic.runs import manifest

    started = time.monotonic()
    with progress_bars() as progress:
        result = study(folder, subject, scale, device=device, progress=progress)
    write_json(folder / "manifest.json", manifest(device=device, seconds=round(time.monotonic() - started, 1)))
    draw(folder, result)
    _tell(result)
    say(f"Results and pictures in {folder}: limbs.png, a gallery for each machine, results.json")
    return result


TITLES = {
    "hands": "Hands with five fingers",
    "stick figures": "Stick figures with four limbs",
    "trousers": "Trousers with two legs",
    "fashion_mnist": "Trousers of Fashion-MNIST",
}


def draw(folder: Path, result: LimbResult) -> None:
    """Write the two pictures."""
    from patchmosaic.plots.limbs import GalleryRow, LimbGalleryDisplay, LimbSharesDisplay

    title, level = TITLES[result.subject], f"{result.scale.below:g}"
    groups = {
        f"{machine}, patch size below noise level {level}": {
            **{str(size): tally for size, tally in tallies.items()},
            "cali-\nbrated": result.untouched[machine],
        }
        for machine, tallies in result.machines.items()
    }
    LimbSharesDisplay(title, {**groups, "no patches": {"net-\nwork": result.network, "real": result.real}}).save(
        folder / "limbs.png"
    )

    for machine, tallies in result.machines.items():
        sizes = [*tallies.items(), (None, result.untouched[machine])]
        rows = [
            GalleryRow(
                f"P = {size}" if size else "calibrated",
                f"{tally.wrong.value:.0%} wrong",
                result.samples[machine, size],
                tally,
            )
            for size, tally in sizes
        ]
        rows.append(
            GalleryRow("network", f"{result.network.wrong.value:.0%} wrong", result.samples["network", None], result.network)
        )
        shown = LimbGalleryDisplay(f"{title}: what {machine} draws with P x P patches below noise level {level}", rows)
        shown.save(folder / f"gallery-{machine}.png")


def _tell(result: LimbResult) -> None:
    from rich.table import Table

    from patchmosaic.analysis.tally import VERDICTS
    from patchmosaic.cli.console import stderr

    table = Table(title=f"{TITLES[result.subject]}: shares of {result.scale.seeds} samples")
    for column in ("drawn by", "low noise", *VERDICTS, "wrong, 95%"):
        table.add_column(column, justify="left" if column == "drawn by" else "right")
    rows = [("real", "", result.real), ("network", "", result.network)]
    for machine, tallies in result.machines.items():
        rows.append((machine, "calibrated", result.untouched[machine]))
        rows += [(machine, f"P = {size}", tally) for size, tally in tallies.items()]
    for name, size, tally in rows:
        wrong = f"{tally.wrong.low:.0%}–{tally.wrong.high:.0%}"
        table.add_row(name, size, *(f"{tally.share(verdict).value:.0%}" for verdict in VERDICTS), wrong)
    stderr.print(table)
    for machine in result.machines:
        least = result.enough(machine)
        say(f"{machine}: too many limbs in at most 5% " + (f"from P = {least} on." if least else "at no P that was tried."))
