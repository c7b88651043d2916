"""`patchmosaic compare`: how well the closed forms predict a run's network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchmosaic.cli.console import Budget, Device, Json, budget_bytes, print_json, progress_bars, say

if TYPE_CHECKING:
    from patchmosaic.comparison import Comparison


def compare(
    run: Annotated[Path, typer.Argument(help="A run folder with a trained network and at least one calibration.")],
    machine: Annotated[
        list[str] | None, typer.Option(help="Repeat for several; by default those calibrated. IS and Wiener always take part.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Compare on seeds 0 to this.", min=1)] = 20,
    steps: Annotated[int, typer.Option(help="DDIM steps of the machines.", min=1)] = 20,
    network_steps: Annotated[
        list[int] | None, typer.Option(help="DDIM steps of the network; repeat for several. By default those of the machines.")
    ] = None,
    memory_budget: Budget = 1.0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Draw the same seeds with the network and with every machine, and measure how well they agree.

    Writes results.json, manifest.json, report.html and locality-scales.png, and for each number N of network steps
    side-by-side-N.png and scatter-MACHINE-N.png.
    Finished seeds are kept: killed, the same command goes on.

    Example: `patchmosaic compare runs/fashion --seeds 20 --network-steps 20 --network-steps 150`
    """
    result = run_comparison(run, machine, seeds, steps, network_steps or [steps], budget_bytes(memory_budget), device)
    if json:
        print_json(result)


def run_comparison(
    folder: Path,
    machines: Sequence[str] | None,
    seeds: int,
    steps: int,
    network_steps: Sequence[int],
    memory_budget: int,
    device: str,
) -> dict[str, Any]:
    """Compare a run's network with machines; write results, pictures and report. What the verb and the demo share."""
    from patchmosaic.comparison import compare as compare_seeds
    from patchmosaic.errors import CheckpointError
    from patchmosaic.files import write_json
    from patchmosaic.plots import LocalityScaleDisplay, ScatterDisplay, SideBySideDisplay
    from patchmosaic.report import write_report
    from patchmosaic.runs import Run, manifest

    started = time.monotonic()
    run = Run(folder)
    network = run.network(device)
    calibrations = run.calibrations()
    names = list(machines) if machines else [name for name in ("ELS", "bbELS", "LS") if name in calibrations]
    if not names:
        raise CheckpointError(
            "no machine is calibrated for this run", got=folder, hint=f"`patchmosaic calibrate {folder}`, or name a --machine."
        )
    denoisers = {name: run.machine(name, schedule=network.schedule, memory_budget=memory_budget).to(device) for name in names}
    comparisons: dict[int, Comparison] = {}
    for count in network_steps:
        with progress_bars() as progress:
            comparisons[count] = compare_seeds(
                network,
                denoisers,
                seeds,
                steps,
                network_steps=count,
                pool=run.pool,
                keep=run.samples_folder,
                progress=progress,
            )
    facts = manifest(
        seeds=seeds,
        pool=run.pool.content_hash,
        network=network.describe()["weights"],
        device=device,
        seconds=round(time.monotonic() - started, 1),
    )
    write_json(folder / "manifest.json", facts)
    write_json(folder / "results.json", {str(count): comparison.to_json() for count, comparison in comparisons.items()})
    class_names = run.pool.class_names
    for count, comparison in comparisons.items():
        SideBySideDisplay.from_comparison(comparison, class_names=class_names).save(folder / f"side-by-side-{count}.png")
        for name in names:
            ScatterDisplay.from_comparison(comparison, name).save(folder / f"scatter-{name}-{count}.png")
        _tell(comparison)
    used = [calibrations[name] for name in names if name in calibrations]
    if used:
        LocalityScaleDisplay.from_calibrations(used).save(folder / "locality-scales.png")
    report = write_report(folder, list(comparisons.values()), used, manifest=facts, class_names=class_names)
    say(f"Results, pictures and report in {folder}: open {report}")
    return {str(count): comparison.summary() for count, comparison in comparisons.items()}


def _tell(comparison: Comparison) -> None:
    from rich.table import Table

    from patchmosaic.cli.console import stderr
    from patchmosaic.comparison import BASELINE
    from patchmosaic.metrics import METRICS

    table = Table(
        title=f"{len(comparison.seeds)} seeds, {comparison.steps} steps, network {comparison.network_steps} steps:"
        " medians with bootstrap 95% intervals"
    )
    table.add_column("machine")
    for metric in METRICS:
        table.add_column(metric, justify="right")
    table.add_column("r above IS", justify="right")
    for name in comparison.images:
        beats = "" if name == BASELINE else f"{comparison.beats_ideal(name):.0%}"
        table.add_row(name, *(str(comparison.median(name, metric)) for metric in METRICS), beats)
    stderr.print(table)
