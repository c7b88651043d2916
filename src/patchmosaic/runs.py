"""A run: one folder that holds a network, its data, its locality scales and what they drew. Each verb reads the last one's.

    run.json            which images, with their content hash
    network/            weights.safetensors, network.json, metrics.jsonl and the training state
    scales/LS.json ...  calibrations
    samples/            finished seeds of every denoiser, so that a killed job resumes
    results.json        the last comparison, with manifest.json, pictures and report.html

The images themselves are not copied: they are read again from where they came from, and their hash must be the same.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

import patchmosaic
from patchmosaic.calibration import Calibration
from patchmosaic.data import ImageSet, load
from patchmosaic.denoisers import MACHINES, Denoiser, EquivariantLocalDenoiser, NetworkDenoiser, PatchDenoiser, WienerDenoiser
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.files import read_json, write_json
from patchmosaic.locality import LocalityScale
from patchmosaic.networks.checkpoint import load_network
from patchmosaic.noise import NoiseSchedule
from patchmosaic.progress import Progress, silent

_TRAIN_HINT = "`patchmosaic train DATA --run FOLDER` makes a run."


@dataclass(frozen=True)
class DataSource:
    """The arguments of `patchmosaic.data.load` that name a pool."""

    name: str
    image_size: int | None = None
    classes: tuple[int | str, ...] | None = None
    limit: int | None = None
    split: Literal["train", "test"] = "train"

    def load(self, progress: Progress = silent) -> ImageSet:
        """Read the images."""
        return load(self.name, self.image_size, self.classes, self.limit, self.split, progress=progress)


class Run:
    """A run folder. Properties read what is there; each error says which verb writes what is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path, source: DataSource, pool: ImageSet) -> Run:
        """A new run on `pool`, or the existing one if it is on the same pool.

        Raises:
            CheckpointError: the folder holds a run on other images.
        """
        run = cls(folder)
        if run._record_path.exists():
            if run._record["content_hash"] != pool.content_hash:
                raise CheckpointError("the folder holds a run on other images", got=folder, hint="Give another --run folder.")
            return run
        write_json(
            run._record_path,
            {"data": asdict(source), "images": len(pool), "content_hash": pool.content_hash, "versions": versions()},
        )
        return run

    @property
    def _record_path(self) -> Path:
        return self.folder / "run.json"

    @cached_property
    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = read_json(self._record_path, hint=_TRAIN_HINT)
        return record

    @cached_property
    def pool(self) -> ImageSet:
        """The training images, read again from their source.

        Raises:
            CheckpointError: the source no longer holds the same images.
        """
        fields = self._record["data"]
        classes = None if fields["classes"] is None else tuple(fields["classes"])
        pool = DataSource(**{**fields, "classes": classes}).load()
        if pool.content_hash != self._record["content_hash"]:
            raise CheckpointError(
                "the data source no longer holds the images of this run",
                got=fields["name"],
                hint="Restore them, or train a new run.",
            )
        return pool

    @property
    def network_folder(self) -> Path:
        """Where the network and its training state live."""
        return self.folder / "network"

    @property
    def samples_folder(self) -> Path:
        """Where finished seeds are kept."""
        return self.folder / "samples"

    def scale_path(self, machine: str) -> Path:
        """Where the calibration of a machine is kept."""
        return self.folder / "scales" / f"{machine}.json"

    def network(self, device: torch.device | str = "cpu") -> NetworkDenoiser:
        """The trained network.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        if not (self.network_folder / "network.json").exists():
            raise CheckpointError("this run has no trained network", got=self.folder, hint=_TRAIN_HINT)
        module, record = load_network(self.network_folder, device)
        return NetworkDenoiser(
            module,
            record.prediction,
            schedule=record.schedule,
            image_shape=record.image_shape,
            classes=self.pool.classes if record.num_classes else (),
        )

    def calibrations(self) -> dict[str, Calibration]:
        """The calibrations so far, by machine."""
        return {name: Calibration.load(self.scale_path(name)) for name in MACHINES if self.scale_path(name).exists()}

    def machine(self, name: str, *, schedule: NoiseSchedule, memory_budget: int = DEFAULT_BUDGET) -> Denoiser:
        """A machine over this run's pool, at its calibrated scale.

        Raises:
            CheckpointError: the machine needs a scale and has not been calibrated.
        """
        scale = None
        if issubclass(machine_kind(name), PatchDenoiser):
            hint = f"`patchmosaic calibrate {self.folder} --machine {name}` writes it."
            scale = Calibration.from_json(read_json(self.scale_path(name), hint=hint)).scale
        return build_machine(name, self.pool, scale, schedule=schedule, memory_budget=memory_budget)


def machine_kind(name: str) -> type[Denoiser]:
    """The class of a machine by its name in the papers; else PatchMosaicError."""
    if name not in MACHINES:
        raise PatchMosaicError("no such machine", got=repr(name), hint=f"Known: {', '.join(MACHINES)}.")
    return MACHINES[name]


def build_machine(
    name: str,
    pool: ImageSet,
    patch_size: int | LocalityScale | None,
    *,
    schedule: NoiseSchedule | None = None,
    memory_budget: int = DEFAULT_BUDGET,
    training_padding: Literal["circular", "valid"] = "circular",
) -> Denoiser:
    """A machine by its name in the papers.

    Raises:
        PatchMosaicError: no such machine, or a patch machine without patch size.
    """
    kind = machine_kind(name)
    if issubclass(kind, WienerDenoiser):
        return kind(pool, schedule=schedule)
    if not issubclass(kind, PatchDenoiser):
        return kind(pool, schedule=schedule, memory_budget=memory_budget)  # type: ignore[call-arg]
    if patch_size is None:
        raise PatchMosaicError(f"{name} needs a patch size", got="none", hint="Give --patch-size, or calibrate a run.")
    if issubclass(kind, EquivariantLocalDenoiser):
        return kind(pool, patch_size, schedule=schedule, memory_budget=memory_budget, training_padding=training_padding)
    return kind(pool, patch_size, schedule=schedule, memory_budget=memory_budget)


def versions() -> dict[str, str]:
    """The versions that a result may depend on."""
    return {
        "patchmosaic": patchmosaic.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def manifest(command: Sequence[str] | None = None, **facts: Any) -> dict[str, Any]:
    """What made a result: the command, the versions, and the facts given."""
    words = sys.argv if command is None else command
    return {
        "command": " ".join(["patchmosaic", *words[1:]]),
        "versions": versions(),
        "threads": torch.get_num_threads(),
        **facts,
    }
