"""`patchmosaic calibrate`: the locality scale of a run's network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from patchmosaic.cli.console import Budget, Device, Json, budget_bytes, print_json, progress_bars, say


def calibrate(
    run: Annotated[Path, typer.Argument(help="A run folder with a trained network.")],
    machine: Annotated[list[str], typer.Option(help="LS, ELS or bbELS; repeat for several.")] = ["bbELS", "LS"],  # noqa: B006
    seeds: Annotated[int, typer.Option(help="Held-out seeds, which comparison never uses.", min=1)] = 8,
    steps: Annotated[int, typer.Option(help="Steps of the network's trajectories.", min=1)] = 20,
    largest: Annotated[int | None, typer.Option(help="Largest patch size to try; by default the receptive field.")] = None,
    monotone: Annotated[bool, typer.Option(help="Do not let the scale shrink as the noise grows.")] = False,
    memory_budget: Budget = 1.0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Find the patch size that makes each machine most like the network, at each noise level.

    Every odd patch size is compared along the network's own trajectories, by cosine of scores; the best of each seed, then the
    median over seeds. Finished seeds are kept: killed, the same command goes on.

    Example: `patchmosaic calibrate runs/fashion --machine bbELS --seeds 2`
    """
    result = run_calibration(run, machine, seeds, steps, largest, monotone, budget_bytes(memory_budget), device)
    if json:
        print_json(result)
    else:
        say(f"Next: patchmosaic compare {run}")


def run_calibration(
    folder: Path,
    machines: Sequence[str],
    seeds: int,
    steps: int,
    largest: int | None,
    monotone: bool,
    memory_budget: int,
    device: str,
) -> dict[str, Any]:
    """Calibrate machines for the network of a run and keep the scales; what the verb and the demo share."""
    from patchmosaic.calibration import calibrate as fit_scale
    from patchmosaic.runs import Run

    run = Run(folder)
    network = run.network(device)
    for machine in machines:
        with progress_bars() as progress:
            calibration = fit_scale(
                network,
                run.pool,
                machine,
                seeds,
                steps,
                patch_sizes=None if largest is None else range(3, largest + 1, 2),
                monotone=monotone,
                memory_budget=memory_budget,
                keep=run.samples_folder,
                progress=progress,
            )
        calibration.save(run.scale_path(machine))
        sizes = " ".join(str(size) for size in calibration.scale.patch_sizes)
        say(f"{machine}: patch sizes from lowest to highest noise: {sizes}")
    return {name: calibration.scale.to_json() for name, calibration in run.calibrations().items()}
