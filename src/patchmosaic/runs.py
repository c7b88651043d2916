"""A run: one folder that holds a network, its data, its locality scales and what they drew. Each verb reads the last one's.

    run.json            which images, with their content hash
    network/            weights.safetensors, network.json, metrics.jsonl and the training state; or, adopted from diffusers,
                        unet/ and scheduler/
    scales/LS.json ...  calibrations
    samples/            finished seeds of every denoiser, so that a killed job resumes
    results.json        the last comparison, with manifest.json, pictures and report.html

The images themselves are not copied: they are read again from where they came from, and their hash must be the same.
"""

from __future__ import annotations

import platform
import sys
import warnings
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
from patchmosaic.errors import CheckpointError, LabelError, PatchMosaicError, ShapeError
from patchmosaic.files import read_json, write_json
from patchmosaic.interop import SchedulerWarning, load_diffusers
from patchmosaic.locality import LocalityScale
from patchmosaic.networks.checkpoint import RECORD_FILE, load_network
from patchmosaic.noise import NoiseSchedule
from patchmosaic.progress import Progress, silent

_TRAIN_HINT = "`patchmosaic train DATA --run FOLDER` makes a run, `patchmosaic adopt` makes one of a network that is trained."


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
        """The trained network, ours or adopted. Errors as for `trained_denoiser`.

        Raises:
            CheckpointError: there is none.
        """
        if not any((self.network_folder / name).exists() for name in (RECORD_FILE, "unet")):
            raise CheckpointError("this run has no trained network", got=self.folder, hint=_TRAIN_HINT)
        return trained_denoiser(self.network_folder, self.pool, device)

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


def trained_denoiser(folder: Path, pool: ImageSet, device: torch.device | str = "cpu") -> NetworkDenoiser:
    """The network of a folder that `save_network` or diffusers wrote, trained on `pool`, as a denoiser.

    Raises:
        CheckpointError: there is none, or it is damaged.
        MissingExtraError: it is of diffusers, which is not installed.
        ShapeError: it makes images of another shape than those of the pool.
        LabelError: it was trained with classes, and the pool has none or others.
    """
    adopted = (folder / "unet").exists()
    if adopted and (folder / RECORD_FILE).exists():
        raise CheckpointError("the folder holds two networks, one adopted and one trained", got=folder, hint="Remove one.")
    if adopted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SchedulerWarning)  # `adopt` has told
            network = load_diffusers(folder, device=device)
    else:
        module, record = load_network(folder, device)
        network = NetworkDenoiser(module, record.prediction, schedule=record.schedule, image_shape=record.image_shape)
    shape = getattr(network, "image_shape", pool.image_shape)  # some of diffusers take any
    if shape != pool.image_shape:
        raise ShapeError(
            f"the network makes images of {shape}", got=f"training images of {pool.image_shape}", hint="Resize the images."
        )
    if network.classes and not (pool.classes and set(pool.classes) <= set(network.classes)):
        raise LabelError(
            f"the network was trained with classes 0 to {len(network.classes) - 1}",
            got=f"images of classes {list(pool.classes)}" if pool.classes else "images without classes",
        )
    network.image_shape, network.classes = pool.image_shape, pool.classes if network.classes else ()
    return network


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
