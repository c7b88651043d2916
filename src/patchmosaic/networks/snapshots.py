"""What a training leaves behind for use: its network, and on the way to it the network as it was at chosen steps.

    network/                      as `save_network` writes it: the averaged weights where they are averaged, else the raw ones
    network/raw/                  the raw weights, where the folder above holds averaged ones
    network/snapshots/step-000500/  the same after 500 steps, and so on

A snapshot is whole or absent. A resumed training that comes by its step again finds it and leaves it as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.networks.base import Network
from patchmosaic.networks.checkpoint import RECORD_FILE, WEIGHTS_FILE, read_record, save_network
from patchmosaic.networks.settings import TrainingSettings
from patchmosaic.noise import NoiseSchedule

RAW_FOLDER = "raw"


def save_trained(
    folder: Path,
    module: Network,
    average: Network | None,
    schedule: NoiseSchedule,
    pool: ImageSet,
    settings: TrainingSettings,
) -> None:
    """Write the network to be used to `folder`, and where that is an average, the raw weights to `raw/` in it."""
    if average is None:
        save_network(folder, module, schedule, pool, settings=settings)
        return
    save_network(folder / RAW_FOLDER, module, schedule, pool, settings=settings)
    save_network(folder, average, schedule, pool, settings=settings, averaged=True)


def take_snapshot(
    folder: Path,
    step: int,
    module: Network,
    average: Network | None,
    schedule: NoiseSchedule,
    pool: ImageSet,
    settings: TrainingSettings,
) -> None:
    """Keep the network as it is after `step` steps, unless the folder has this very snapshot already."""
    place = snapshot_folder(folder, step)
    temporary = place.with_name(f".{place.name}")  # of a fixed name: what a killed run left is overwritten, not collected
    shutil.rmtree(temporary, ignore_errors=True)
    save_trained(temporary, module, average, schedule, pool, settings)
    if (place / RECORD_FILE).exists() and read_record(place) == read_record(temporary):
        shutil.rmtree(temporary)
        return
    shutil.rmtree(place, ignore_errors=True)
    temporary.rename(place)


def snapshot_folder(folder: Path, step: int) -> Path:
    """Where the snapshot after `step` steps is; `load_network` reads it."""
    return folder / "snapshots" / f"step-{step:06d}"


def snapshots_in(folder: Path) -> dict[int, Path]:
    """The snapshots that a training left in its folder: step -> where it is, in order."""
    places = (folder / "snapshots").glob("step-*")
    return dict(sorted((int(place.name.removeprefix("step-")), place) for place in places))


def check_snapshots(folder: Path | None, wanted: Sequence[int], steps: int, done: int) -> None:
    """That the snapshots after `wanted` steps are there or can still be taken by a training that has done `done` of `steps`.

    Raises:
        PatchMosaicError: there is no such step, or no folder to keep snapshots in.
        CheckpointError: the training has passed such a step without taking a snapshot.
    """
    if wanted and folder is None:
        raise PatchMosaicError("snapshots need a folder", got="none", hint="Give the training a folder.")
    for step in wanted:
        if not 0 <= step <= steps:
            raise PatchMosaicError(f"snapshots are of steps 0 to {steps}", got=step)
        if folder is not None and step < done and not (snapshot_folder(folder, step) / WEIGHTS_FILE).exists():
            raise CheckpointError(
                f"the training has passed step {step} without a snapshot",
                got=f"{done} steps done in {folder}",
                hint="Leave this snapshot out, or train in another folder.",
            )


def log_spaced_steps(count: int, steps: int) -> tuple[int, ...]:
    """From 1 to `steps`, `count` numbers by equal factors, rounded; fewer where neighbours round to the same.

    Raises:
        PatchMosaicError: fewer than one snapshot.
    """
    if count < 1:
        raise PatchMosaicError("there must be at least one snapshot", got=count)
    return tuple(sorted({round(steps ** (i / max(count - 1, 1))) for i in range(count)} | {steps}))[-count:]
