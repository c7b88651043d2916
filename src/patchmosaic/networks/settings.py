"""Everything that trained weights depend on besides network, schedule and images, and two named choices of it.

    paper   Adam at 1e-4, times 0.999965 a step, batches of 128, 300 epochs, mean squared error of eps, no averaged weights
    cpu     6,000 steps of 64 images at 1e-3 falling to 0, all noise levels weighed alike: some tens of minutes for a ResNet

A recipe is a function of the number of images and of the batch size, as the paper counts epochs. Kamb & Ganguli 2024, appendix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from patchmosaic.errors import PatchMosaicError
from patchmosaic.networks.batches import Times

# What trainings of the first version did not have is described only where it is not at its default: they go on as they began.
_ADDED = ("ema_half_life", "times")


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Attributes:
        steps: optimiser steps.
        batch_size: images a step.
        learning_rate: of the first step.
        objective: "mse", the paper's, or "log_mse", which weighs all noise levels alike.
        lr_schedule: "cosine" falls to 0 at the last step; "exponential" is the paper's factor of 0.999965 a step.
        seed: of the order of the images, the times and the noise.
        precision: of the convolutions; weights and moments are always float32. "auto" takes bfloat16 on processors with
            bfloat16 arithmetic, where it is about twice as fast, and float32 on others.
        ema_half_life: images after which a step's weights count half in the average that is kept beside the weights; None for
            no average. A decay of d a step is a half-life of batch_size ln 2 / -ln d: 887,000 images for 0.9999 at 128.
        times: "continuous" on (0, 1], or the paper's "thousandths"; see batches.py.

    Raises:
        PatchMosaicError: a number that is not positive, or an unknown choice.
    """

    steps: int = 20_000
    batch_size: int = 128
    learning_rate: float = 5e-4
    lr_schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    objective: Literal["mse", "log_mse"] = "mse"
    ema_half_life: float | None = None
    times: Times = "continuous"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "learning_rate", "ema_half_life"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise PatchMosaicError(f"{name} must be positive", got=value)
        for name, known in (
            ("lr_schedule", ("cosine", "exponential", "constant")),
            ("precision", ("auto", "float32", "bfloat16")),
            ("objective", ("mse", "log_mse")),
            ("times", ("continuous", "thousandths")),
        ):
            if getattr(self, name) not in known:
                raise PatchMosaicError(f"{name} must be one of {', '.join(known)}", got=repr(getattr(self, name)))

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        match self.lr_schedule:
            case "cosine":
                return self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            case "exponential":
                return self.learning_rate * 0.999965**step
            case "constant":
                return self.learning_rate

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary: what identifies the training in files."""
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in asdict(self).items() if name not in _ADDED or value != defaults[name]}


def steps_of_epochs(epochs: int, images: int, batch_size: int) -> int:
    """Steps until every one of `images` has been seen `epochs` times."""
    return math.ceil(epochs * images / batch_size)


def paper(images: int, batch_size: int = 128) -> TrainingSettings:
    """The training of Kamb & Ganguli 2024: 300 epochs, so 117,188 steps for the 50,000 images of CIFAR-10."""
    steps = steps_of_epochs(300, images, batch_size)
    return TrainingSettings(steps, batch_size, 1e-4, "exponential", precision="float32", objective="mse", times="thousandths")


def cpu(images: int, batch_size: int = 64) -> TrainingSettings:
    """A training for two cores; as many steps for any number of images."""
    return TrainingSettings(6000, batch_size, 1e-3, "cosine", objective="log_mse")


RECIPES: dict[str, Callable[..., TrainingSettings]] = {"cpu": cpu, "paper": paper}
