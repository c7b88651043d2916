"""Subjects: what can be explored. The run or data that was asked for, whatever data are found, and the toy of two images.

The toy is the smallest case in which the theory is at work: a model that has seen one black and one white image, and whose
pixels see 3x3 windows of a torus, draws black and white mosaics (Kamb & Ganguli 2024, section 4). Its noise falls by orders of
magnitude, so that pixels settle one after another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from patchmosaic.data import ImageSet, found
from patchmosaic.data.sources import open_records
from patchmosaic.denoisers import MACHINES, NetworkDenoiser, PatchDenoiser
from patchmosaic.errors import DataError, LabelError
from patchmosaic.files import read_json
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule, EDMSchedule, NoiseSchedule
from patchmosaic.progress import Progress
from patchmosaic.runs import DataSource, Run

TOY = "black and white"
TOY_SIDE = 12
TOY_PIXEL = (3, 4)  # of seed 0: white by five pixels against four
QUICK = 2000  # images of which a machine draws while one waits
QUICK_RUN = 10_000  # a network has seen all of its images, and is worth a longer wait for as many


@dataclass(frozen=True)
class Subject:
    """Training images, and all that is known about drawing from them.

    Attributes:
        name: what questions call it.
        pool: the images in use.
        total: how many there are of which the pool is the first part.
        usual: how many to use where nothing is said.
        schedule: of all its denoisers.
        network: the run's, where there is one.
        scales: the patch sizes of machines that were calibrated for the network.
        patch_size: of the other machines; None for one that shrinks with the noise.
        results: the run's last comparison, network steps -> `Comparison.to_json()`.
        machine: the one to begin with.
        steps: how many to begin with.
        pixel: (row, column) to begin with; None for one that tells much.
        plain: whether each training image has one colour all over, so that its patches are all alike.
        note: what a newcomer should know of it.
    """

    name: str
    pool: ImageSet
    total: int
    usual: int
    schedule: NoiseSchedule
    network: NetworkDenoiser | None = None
    scales: Mapping[str, LocalityScale] = field(default_factory=dict)
    patch_size: int | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    machine: str = "bbELS"
    steps: int = 20
    pixel: tuple[int, int] | None = None
    plain: bool = False
    note: str = ""

    @property
    def needs_class(self) -> bool:
        """Whether its network draws nothing without a class."""
        return self.network is not None and bool(self.network.classes)

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes that can be asked for: none where the network knows none, or an image is a class of its own."""
        if self.plain:
            return ()
        return self.pool.classes if self.network is None else self.network.classes

    def check_class(self, label: int | None) -> None:
        """Raise LabelError where a class is needed and not given, or there are no images of it."""
        if label is None and self.needs_class:
            raise LabelError("the network of this run draws a class", got="none", hint=f"Choose one of {list(self.classes)}.")
        if label is not None and label not in self.pool.classes:
            raise LabelError("no images of this class", got=label, hint=f"Known classes: {list(self.pool.classes)}.")

    def patch_size_of(self, machine: str, steps: int) -> int | LocalityScale | None:
        """The patch size of a machine that was asked for none; None for a machine that has no patches."""
        if not issubclass(MACHINES[machine], PatchDenoiser):
            return None
        if machine in self.scales:
            return self.scales[machine]
        return self.patch_size or LocalityScale.shrinking(self.schedule, max(self.pool.image_shape[1:]), steps)


def names(asked: str | None) -> list[str]:
    """What can be explored, beginning with what was asked for."""
    return list(dict.fromkeys([*([asked] if asked else []), TOY, "digits", *found()]))


def open_subject(name: str, images: int | None, device: str, progress: Progress) -> Subject:
    """Read a subject; at most the first `images` of it, by default as many as are quick.

    Raises:
        DataError: there is no such data set.
        CheckpointError: a run that is damaged, or whose images are no longer there.
    """
    if name == TOY:
        return toy()
    if (Path(name) / "run.json").exists():
        return _of_run(Run(Path(name)), images or QUICK_RUN, device)
    total = open_records(name, "train").count
    pool = DataSource(name, limit=images or QUICK).load(progress)
    return Subject(name, pool, total, QUICK, CosineSchedule())


def _of_run(run: Run, images: int, device: str) -> Subject:
    network = run.network(device) if (run.network_folder / "network.json").exists() else None
    scales = {name: calibration.scale for name, calibration in run.calibrations().items()}
    results = run.folder / "results.json"
    return Subject(
        name=str(run.folder),
        pool=run.pool if images >= len(run.pool) else run.pool.subset(torch.arange(images)),
        total=len(run.pool),
        usual=QUICK_RUN,
        schedule=network.schedule if network else CosineSchedule(),
        network=network,
        scales=scales,
        results=_comparisons(read_json(results)) if results.exists() else {},
        machine=next((name for name in ("bbELS", "ELS", "LS") if name in scales), "bbELS"),
    )


def _comparisons(record: Mapping[str, Any]) -> dict[str, Any]:
    """The comparisons with a network in a results.json, by network steps; other studies write other records there."""
    return {key: value for key, value in record.items() if isinstance(value, dict) and "network_steps" in value}


def toy() -> Subject:
    """One black and one white image."""
    images = torch.stack([torch.full((1, TOY_SIDE, TOY_SIDE), value) for value in (-1.0, 1.0)])
    return Subject(
        name=TOY,
        pool=ImageSet(images, [0, 1], class_names=("black", "white"), name=TOY),
        total=2,
        usual=2,
        schedule=EDMSchedule(sigma_min=1e-4, sigma_max=80.0, rho=20.0),
        patch_size=3,
        machine="ELS",
        steps=30,
        pixel=TOY_PIXEL,
        plain=True,
        note="The training set is two images, one all black and one all white. A model that recalled whole images could draw"
        " nothing else. Here every pixel sees only a 3 × 3 window of the noise and asks: is this a piece of the black image or"
        " of the white one? Each decides for itself, and a mosaic appears that nobody has drawn before.",
    )


def check_known(name: str, known: list[str]) -> None:
    """Raise DataError for a subject that is not offered: a page may not name any file of this machine."""
    if name not in known:
        raise DataError("no such data in this explorer", got=repr(name), hint=f"There are: {', '.join(known)}.")
