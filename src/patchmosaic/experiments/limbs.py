"""Excess limbs: what a network and the patch machines draw, with the machines' locality at low noise made tighter or looser.

At high noise each machine keeps the locality scale that was calibrated for the network. Below a noise level, where signal and
noise are equal by default, every patch is P x P. A window too small to see that a hand has its fingers already allows one more
wherever a finger would fit: limbs are missing, doubled or adrift. As P grows the window sees the whole figure, and the right
number comes back. Limbs are counted by `analysis.limbs` and `analysis.legs`, in figures of which the number is known.

All denoisers draw the same seeds.

References:
    Kamb & Ganguli 2024: wrong numbers of limbs come of excessive locality late in the reverse process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from patchmosaic.analysis.legs import count_legs
from patchmosaic.analysis.limbs import LimbCounts, count_limbs, unwrapped
from patchmosaic.analysis.tally import LimbTally
from patchmosaic.calibration import calibrate
from patchmosaic.data import ImageSet, load
from patchmosaic.data.figures import KINDS, figures
from patchmosaic.denoisers import NetworkDenoiser
from patchmosaic.errors import PatchMosaicError
from patchmosaic.experiments.low_noise import at_low_noise
from patchmosaic.files import write_json
from patchmosaic.generation import generate
from patchmosaic.locality import LocalityScale
from patchmosaic.networks import ResNet, TrainingSettings, train
from patchmosaic.noise import CosineSchedule
from patchmosaic.progress import Progress, silent

SCHEDULE = CosineSchedule()
WRAPPED = {"ELS"}  # machines whose figures may go round the border
ENOUGH = 0.05  # the share of figures with too many limbs that still counts as none


@dataclass(frozen=True)
class Subject:
    """What is drawn: its right number of limbs, how they are counted, and `images(count, image_size, split)`."""

    limbs: int
    count: Callable[[Tensor], LimbCounts]
    images: Callable[[int, int, str], ImageSet]


def _figures(kind: str) -> Subject:
    return Subject(KINDS[kind].limbs, count_limbs, lambda count, size, split: figures(kind, count, size, int(split == "test")))


SUBJECTS = {
    **{kind: _figures(kind) for kind in KINDS},
    "fashion_mnist": Subject(
        2, count_legs, lambda count, size, split: load("fashion_mnist", size, classes="Trouser", limit=count, split=split)
    ),
}


@dataclass(frozen=True)
class Scale:
    """How large the experiment is.

    Attributes:
        images: in the pool, on which the network is trained.
        image_size: pixels a side.
        seeds, steps: samples of each denoiser, and the DDIM steps of each.
        patch_sizes: P at low noise.
        below: the noise level sigma / alpha below which they hold.
        width, depth, training_steps, batch_size: of the ResNet; its receptive field is 2 depth + 5.
        calibration_seeds: of the locality scale.
        machines: which patch machines.
        real: figures that are not in the pool, for comparison.
    """

    images: int = 500
    image_size: int = 24
    seeds: int = 64
    steps: int = 20
    patch_sizes: tuple[int, ...] = (3, 5, 7, 9, 11, 15, 19, 23)
    below: float = 1.0
    width: int = 32
    depth: int = 6
    training_steps: int = 3000
    batch_size: int = 32
    calibration_seeds: int = 4
    machines: tuple[str, ...] = ("bbELS", "ELS")
    real: int = 256

    def settings(self) -> TrainingSettings:
        """The network's training."""
        return TrainingSettings(self.training_steps, self.batch_size, 1e-3, objective="log_mse")


SCALES = {
    "cpu": Scale(),
    "full": Scale(
        5000,
        32,
        256,
        patch_sizes=(3, 5, 7, 9, 11, 13, 15, 17, 21, 25, 31),
        width=128,
        training_steps=30_000,
        calibration_seeds=16,
        real=1000,
    ),
}


@dataclass(frozen=True, eq=False)
class LimbResult:
    """What was drawn, and how many limbs it has.

    Attributes:
        subject: "hands", ...
        images: how many the pool holds.
        scale: of the experiment.
        calibrated: the locality scale of each machine.
        real: the tally of figures that were not in the pool: what the counter sees where all is well.
        network: that of the network's samples.
        machines: of each machine, that of every P at low noise.
        untouched: of each machine, that at its calibrated scale.
        samples: (seeds, 1, H, W) in [-1, 1], as they were counted: of the network; of machine and P; of machine and None, its
            calibrated scale. A figure that goes round the border is shifted off it.
    """

    subject: str
    images: int
    scale: Scale
    calibrated: dict[str, LocalityScale]
    real: LimbTally
    network: LimbTally
    machines: dict[str, dict[int, LimbTally]]
    untouched: dict[str, LimbTally]
    samples: dict[tuple[str, int | None], Float[Tensor, "seeds 1 H W"]]

    def enough(self, machine: str) -> int | None:
        """The least P from which on at most one figure in twenty has too many limbs; None where the largest P does not do."""
        least = None
        for size, tally in sorted(self.machines[machine].items(), reverse=True):
            if tally.share("too many").value > ENOUGH:
                break
            least = size
        return least

    def to_json(self) -> dict[str, Any]:
        """All numbers; the images are in the folder of samples."""
        return {
            "subject": self.subject,
            "images": self.images,
            "scale": asdict(self.scale),
            "calibrated": {name: scale.to_json() for name, scale in self.calibrated.items()},
            "real": self.real.to_json(),
            "network": self.network.to_json(),
            "machines": {
                name: {
                    "calibrated": self.untouched[name].to_json(),
                    "patch sizes": {str(size): tally.to_json() for size, tally in tallies.items()},
                    "enough": self.enough(name),
                }
                for name, tallies in self.machines.items()
            },
        }


def study(
    folder: Path,
    subject: str,
    scale: Scale,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> LimbResult:
    """Train, calibrate, draw and count; what an earlier call finished is only read. Writes `results.json`.

    Args:
        folder: `network/` and `samples/` in it are the subject's own.
        subject: "hands", "stick figures", "trousers" or "fashion_mnist".

    Raises:
        PatchMosaicError: no such subject or patch machine.
        DataError: Fashion-MNIST is not there.
    """
    if subject not in SUBJECTS:
        raise PatchMosaicError("no such subject", got=repr(subject), hint=f"Known: {', '.join(SUBJECTS)}.")
    task = SUBJECTS[subject]
    pool, real = (
        task.images(count, scale.image_size, split) for count, split in ((scale.images, "train"), (scale.real, "test"))
    )
    module = ResNet(1, scale.width, scale.depth)
    train(module, pool, SCHEDULE, scale.settings(), folder / "network", device=device, progress=progress)
    network = NetworkDenoiser(module, schedule=SCHEDULE, image_shape=pool.image_shape)
    keep, seeds = folder / "samples", range(scale.seeds)

    samples: dict[tuple[str, int | None], Tensor] = {
        ("network", None): generate(
            network, seeds, steps=scale.steps, batch_size=64, keep=keep, name="network", progress=progress
        )
    }
    calibrated: dict[str, LocalityScale] = {}
    for machine in scale.machines:
        fit = calibrate(network, pool, machine, scale.calibration_seeds, scale.steps, keep=keep, progress=progress)
        calibrated[machine] = fit.scale
        drawn = at_low_noise(
            machine,
            pool,
            fit.scale,
            scale.patch_sizes,
            scale.below,
            seeds=scale.seeds,
            steps=scale.steps,
            schedule=SCHEDULE,
            device=device,
            keep=keep,
            progress=progress,
        )
        samples |= {(machine, size): unwrapped(x0) if machine in WRAPPED else x0 for size, x0 in drawn.items()}
    samples = {key: images.clamp(-1, 1) for key, images in samples.items()}
    tallies = {key: _tally(task, images) for key, images in samples.items()}
    result = LimbResult(
        subject,
        len(pool),
        scale,
        calibrated,
        _tally(task, real.images),
        tallies["network", None],
        {machine: {size: tallies[machine, size] for size in scale.patch_sizes} for machine in scale.machines},
        {machine: tallies[machine, None] for machine in scale.machines},
        samples,
    )
    write_json(folder / "results.json", result.to_json())
    return result


def _tally(task: Subject, images: Tensor) -> LimbTally:
    return LimbTally(tuple(task.count(images).counts.tolist()), task.limbs)
