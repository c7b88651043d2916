"""`patchmosaic demo`: the main job from end to end, on data that needs no download."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from patchmosaic.cli.calibrate import run_calibration
from patchmosaic.cli.compare import run_comparison
from patchmosaic.cli.console import Json, print_json, say
from patchmosaic.cli.train import run_training

MACHINES = ("bbELS", "LS", "ELS")


def demo(
    out: Annotated[Path, typer.Option(help="The folder for the run, its pictures and report.html.")] = Path("demo"),
    seeds: Annotated[int, typer.Option(help="How many held-out seeds to predict.", min=2)] = 64,
    training_steps: Annotated[int, typer.Option(help="Adam steps of the network.", min=1)] = 4000,
    calibration_seeds: Annotated[int, typer.Option(help="How many other seeds to calibrate on.", min=1)] = 8,
    limit: Annotated[int | None, typer.Option(help="Use the first so many digits; by default all 1,797.")] = None,
    json: Json = False,
) -> None:
    """Train a small network on handwritten digits, then predict its drawings in closed form, seed by seed.

    Everything is on this machine: the digits come with scikit-learn. About three minutes on two cores. Killed, the same command
    goes on; delete the folder to start anew.
    """
    from patchmosaic.engine.memory import DEFAULT_BUDGET
    from patchmosaic.networks import TrainingSettings
    from patchmosaic.runs import DataSource

    started = time.monotonic()
    say("[bold]1/3[/] A diffusion network learns to draw 8x8 digits.")
    settings = TrainingSettings(steps=training_steps, batch_size=128, learning_rate=1e-3, objective="log_mse")
    network = {"width": 64, "depth": 3, "padding": "zeros", "conditional": False}
    run_training(out, DataSource("digits", limit=limit), network, settings, "cpu")
    say("[bold]2/3[/] How large a patch does each of its pixels look at?")
    run_calibration(out, MACHINES, calibration_seeds, 20, None, False, DEFAULT_BUDGET, "cpu")
    say(f"[bold]3/3[/] {seeds} new noises, drawn by the network and predicted in closed form.")
    summary = run_comparison(out, MACHINES, seeds, 20, [20], DEFAULT_BUDGET, "cpu")
    say(f"Done in {time.monotonic() - started:.0f} s.")
    if json:
        print_json({"folder": str(out), "seconds": round(time.monotonic() - started, 1), "summary": summary["20"]})
