"""`patchmosaic beliefs`: how sure the pixels are of their sources while an image forms, and when a machine copies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchmosaic.cli.console import Budget, Json, budget_bytes, print_json, progress_bars, say
from patchmosaic.cli.train import absolute

if TYPE_CHECKING:
    from patchmosaic.analysis.beliefs import BeliefDynamics
    from patchmosaic.analysis.information import Information
    from patchmosaic.data import ImageSet
    from patchmosaic.denoisers import PosteriorDenoiser
    from patchmosaic.locality import LocalityScale
    from patchmosaic.progress import Progress

LOWEST, HIGHEST = 0.05, 5.0  # noise levels at which information is measured
WINDOWED = ("LS", "ELS", "bbELS")


def beliefs(
    source: Annotated[str, typer.Argument(help="A run folder with calibrations, or data as for `train`.")],
    machine: Annotated[
        list[str] | None,
        typer.Option(
            help="IS, ES, LS, ELS or bbELS; repeat for several. By default IS and what the run has calibrated, or all."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Follow seeds 0 to this.", min=1)] = 8,
    steps: Annotated[int, typer.Option(help="DDIM steps.", min=1)] = 20,
    patch_size: Annotated[
        int | None, typer.Option(help="One patch size at all noise levels; by default the calibrated scale, for data 3.")
    ] = None,
    window: Annotated[
        list[int] | None,
        typer.Option(help="Patch sizes whose information is measured; repeat. By default up to the whole image."),
    ] = None,
    levels: Annotated[int, typer.Option(help="Noise levels at which information is measured.", min=2)] = 10,
    draws: Annotated[int, typer.Option(help="Noisy images that information is measured on; 0 leaves it out.", min=0)] = 8,
    out: Annotated[Path | None, typer.Option(help="Folder for results; by default beliefs/ in the run, or here.")] = None,
    image_size: Annotated[int | None, typer.Option(help="For data: resize to this side.")] = None,
    limit: Annotated[int | None, typer.Option(help="For data: use the first so many images.")] = None,
    memory_budget: Budget = 1.0,
    json: Json = False,
) -> None:
    """Follow the entropy of every pixel's belief from noise to image, and measure how much its window tells of its source.

    Where the information reaches ln |D|, the logarithm of the number of training patches, a machine copies: the result names
    that noise level for each patch size, and the critical patch size at each noise level beside what theory predicts.
    Writes beliefs.json, beliefs.png, information.png and critical-size.png. Finished seeds and draws are kept: killed, the same
    command goes on. ELS over many large images is slow: begin with --limit, or with --draws 0.

    Examples: `patchmosaic beliefs digits`, `patchmosaic beliefs runs/fashion --machine IS --machine LS`
    """
    result = run_beliefs(
        source,
        machine,
        seeds,
        steps,
        patch_size,
        window,
        levels,
        draws,
        out,
        image_size,
        limit,
        budget_bytes(memory_budget),
    )
    if json:
        print_json(result)


def run_beliefs(
    source: str,
    names: Sequence[str] | None,
    seeds: int,
    steps: int,
    patch_size: int | None,
    windows: Sequence[int] | None,
    levels: int,
    draws: int,
    out: Path | None,
    image_size: int | None,
    limit: int | None,
    memory_budget: int,
) -> dict[str, Any]:
    """Follow beliefs, measure information; write results and pictures."""
    from patchmosaic.analysis.beliefs import belief_dynamics
    from patchmosaic.analysis.information import information
    from patchmosaic.files import write_json
    from patchmosaic.plots.beliefs import BeliefDynamicsDisplay
    from patchmosaic.plots.critical_size import CriticalSizeDisplay
    from patchmosaic.plots.information import InformationDisplay
    from patchmosaic.runs import manifest
    from patchmosaic.sampling import seed_labels

    started = time.monotonic()
    with progress_bars() as progress:
        pool, machines, scales, conditional = _machines(source, names, patch_size, image_size, limit, memory_budget, progress)
    folder = out or (Path(source) / "beliefs" if (Path(source) / "run.json").exists() else Path("beliefs"))
    labels = seed_labels(seeds, pool.classes) if conditional else None
    with progress_bars() as progress:
        dynamics = belief_dynamics(machines, seeds, steps, labels=labels, keep=folder / "seeds", progress=progress)
    BeliefDynamicsDisplay.from_beliefs(dynamics).save(folder / "beliefs.png")
    result: dict[str, Any] = {"pool": {"name": pool.name, "images": len(pool), "content_hash": pool.content_hash}}
    result |= {"dynamics": dynamics.to_json(), "information": {}}
    measured = []
    for name in [name for name in machines if name in WINDOWED and draws]:
        schedule = machines[name].schedule
        with progress_bars() as progress:
            found = information(
                pool,
                name,
                _spread(schedule, levels),
                sorted(set(windows or _windows(pool))),
                draws=draws,
                conditional=conditional,
                schedule=schedule,
                memory_budget=memory_budget,
                keep=folder / "seeds",
                progress=progress,
            )
        measured.append(found)
        result["information"][name] = found.to_json()
    if measured:
        InformationDisplay(measured).save(folder / "information.png")
        CriticalSizeDisplay(measured, scales).save(folder / "critical-size.png")
    _tell(dynamics, measured)
    write_json(folder / "manifest.json", manifest(pool=pool.content_hash, seconds=round(time.monotonic() - started, 1)))
    write_json(folder / "beliefs.json", result)
    say(f"Pictures and beliefs.json in {folder}")
    return result


def _machines(
    source: str,
    names: Sequence[str] | None,
    patch_size: int | None,
    image_size: int | None,
    limit: int | None,
    memory_budget: int,
    progress: Progress,
) -> tuple[ImageSet, dict[str, PosteriorDenoiser], dict[str, LocalityScale], bool]:
    """The pool, the machines on it, the scales of a run's network, and whether its classes are told."""
    from patchmosaic.denoisers import Denoiser, PosteriorDenoiser
    from patchmosaic.errors import PatchMosaicError
    from patchmosaic.runs import DataSource, Run, build_machine

    run = Run(Path(source)) if (Path(source) / "run.json").exists() else None
    found: dict[str, Denoiser] = {}
    scales: dict[str, LocalityScale] = {}
    conditional = False
    if run is None:
        pool = DataSource(absolute(source), image_size, limit=limit).load(progress)
        for name in names or ("IS", *WINDOWED):
            found[name] = build_machine(name, pool, patch_size or 3, memory_budget=memory_budget)
    else:
        pool, network = run.pool, run.network()
        conditional = bool(network.classes)
        scales = {name: calibration.scale for name, calibration in run.calibrations().items()}
        for name in names or ("IS", *scales):
            if patch_size is None:
                found[name] = run.machine(name, schedule=network.schedule, memory_budget=memory_budget)
            else:
                found[name] = build_machine(name, pool, patch_size, schedule=network.schedule, memory_budget=memory_budget)
    machines = {name: machine for name, machine in found.items() if isinstance(machine, PosteriorDenoiser)}
    if len(machines) < len(found):
        without = ", ".join(set(found) - set(machines))
        raise PatchMosaicError("only machines that average training pixels have beliefs", got=without, hint="Leave it out.")
    return pool, machines, scales, conditional


def _spread(schedule: Any, count: int) -> list[float]:
    """Noise levels by equal factors, within the schedule."""
    low, high = (float(schedule.noise_level(t)) for t in (0.0, 1.0))
    low, high = max(LOWEST, low), min(HIGHEST, high)
    return [low * (high / low) ** (i / (count - 1)) for i in range(count)]


def _windows(pool: ImageSet) -> list[int]:
    side = max(pool.image_shape[1:])
    return [size for size in (1, 3, 5, 7, 9, 13, 17, 25, 33) if size < side] + [2 * side - 1]


def _tell(dynamics: BeliefDynamics, measured: Sequence[Information]) -> None:
    for name in dynamics.machines:
        level = dynamics.onset(name)
        known = "at no noise level" if level is None else f"below noise level {level:.2g}"
        say(f"[bold]{name}[/], drawing {len(dynamics.seeds)} seeds: half of the pixels know their source {known}.")
    for one in measured:
        onsets = {size: level for size, level in one.onsets().items() if level is not None}
        told = ", ".join(f"{size} pixels below {level:.2g}" for size, level in onsets.items())
        say(f"[bold]{one.machine}[/], true noisy images: windows give their source away with {told or 'no size'}.")
