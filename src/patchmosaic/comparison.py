"""Comparison: how well closed-form denoisers predict, seed by seed, what a network draws from the same x_T and label.

References:
    Kamb & Ganguli 2024, section 5 (protocol); the metrics are those of `metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import Denoiser, IdealDenoiser, WienerDenoiser
from patchmosaic.errors import PatchMosaicError
from patchmosaic.generation import generate
from patchmosaic.metrics import METRICS, Interval, measure, median_interval
from patchmosaic.progress import Progress, silent
from patchmosaic.sampling import seed_labels

BASELINE = "IS"


@dataclass(frozen=True)
class Comparison:
    """Machines against one network on the same seeds.

    Attributes:
        seeds: the S seed numbers.
        labels: (S,) their classes, or None.
        steps: DDIM steps of the machines.
        network_steps: DDIM steps of the network.
        network_images: (S, C, H, W) what the network drew.
        images: what each machine drew, by name; (S, C, H, W) each.
        per_seed: machine -> metric -> (S,).
    """

    seeds: tuple[int, ...]
    labels: Int64[Tensor, " S"] | None
    steps: int
    network_steps: int
    network_images: Float[Tensor, "S C H W"]
    images: dict[str, Float[Tensor, "S C H W"]]
    per_seed: dict[str, dict[str, Float64[Tensor, " S"]]] = field(init=False)

    def __post_init__(self) -> None:
        measured = {name: measure(images, self.network_images) for name, images in self.images.items()}
        object.__setattr__(self, "per_seed", measured)

    def median(self, machine: str, metric: str = "r") -> Interval:
        """Median over seeds with its 95% interval."""
        return median_interval(self.per_seed[machine][metric])

    def beats_ideal(self, machine: str) -> float:
        """The fraction of seeds on which `machine` has a larger r than IS."""
        return float((self.per_seed[machine]["r"] > self.per_seed[BASELINE]["r"]).double().mean())

    def summary(self) -> dict[str, dict[str, Any]]:
        """For each machine: the fraction of seeds where it beats IS, and each metric's median and interval."""
        return {
            name: {
                "beats_IS": self.beats_ideal(name),
                **{metric: vars(self.median(name, metric)) for metric in METRICS},
            }
            for name in self.images
        }

    def to_json(self) -> dict[str, Any]:
        """Everything but the images, as JSON-able data."""
        return {
            "seeds": list(self.seeds),
            "labels": None if self.labels is None else self.labels.tolist(),
            "steps": self.steps,
            "network_steps": self.network_steps,
            "summary": self.summary(),
            "per_seed": {
                name: {metric: values.tolist() for metric, values in metrics.items()} for name, metrics in self.per_seed.items()
            },
        }

    def __str__(self) -> str:
        """A plain-text table of the medians."""
        head = f"{'machine':<10}" + "".join(f"{metric:>24}" for metric in METRICS) + f"{'r > IS':>9}"
        rows = [
            f"{name:<10}"
            + "".join(f"{self.median(name, metric)!s:>24}" for metric in METRICS)
            + ("        -" if name == BASELINE else f"{self.beats_ideal(name):>9.0%}")
            for name in self.images
        ]
        return "\n".join([head, *rows])


def compare(
    network: Denoiser,
    machines: Mapping[str, Denoiser],
    seeds: int | Sequence[int] = 100,
    steps: int = 20,
    *,
    network_steps: int | None = None,
    pool: ImageSet | None = None,
    conditional: bool | None = None,
    batch_size: int = 4,
    keep: Path | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Draw the same seeds with a network and with machines, and measure how well the machines predict it.

    The ideal denoiser "IS" and the Gaussian baseline "Wiener" are always part of the comparison: where `machines` lacks them
    they are made from the pool.

    Args:
        network: the truth.
        machines: name -> denoiser; names are yours, "IS" and "Wiener" are taken as the baselines.
        seeds: how many, or which.
        steps: DDIM steps of the machines.
        network_steps: DDIM steps of the network; by default as many.
        pool: the training images for the baselines; by default those of the first machine that has a pool.
        conditional: give each seed a random class, the same for all; by default where the network has classes.
        batch_size: seeds in work at once; does not change the result.
        keep: a folder that remembers finished seeds.
        progress: called with the name of the denoiser at work and its steps.

    Raises:
        PatchMosaicError: no pool for the baselines, or no seeds.
    """
    pool = pool or next((machine.pool for machine in machines.values() if hasattr(machine, "pool")), None)
    if pool is None:
        raise PatchMosaicError("the baselines IS and Wiener need training images", got="none", hint="Give pool=.")
    baselines = {"IS": IdealDenoiser, "Wiener": WienerDenoiser}
    contenders: dict[str, Denoiser] = {
        **{
            name: kind(pool, schedule=network.schedule).to(network.device)
            for name, kind in baselines.items()
            if name not in machines
        },
        **machines,
    }
    if "network" in machines:
        raise PatchMosaicError('"network" is the name of the truth', got="a machine of that name", hint="Rename it.")
    numbers = list(range(seeds)) if isinstance(seeds, int) else [int(number) for number in seeds]
    conditional = bool(network.classes) if conditional is None else conditional
    labels = seed_labels(numbers, pool.classes) if conditional else None
    images = {
        name: generate(
            denoiser,
            numbers,
            steps=count,
            labels=labels,
            image_shape=pool.image_shape,
            batch_size=batch_size,
            keep=keep,
            name=name,
            progress=progress,
        )
        for name, denoiser, count in [
            ("network", network, network_steps or steps),
            *((name, denoiser, steps) for name, denoiser in contenders.items()),
        ]
    }
    network_images = images.pop("network")
    return Comparison(tuple(numbers), labels, steps, network_steps or steps, network_images, images)
