"""Belief dynamics: how sure the pixels are of their sources while an image forms.

At high noise a pixel believes in all training patches alike; as the noise falls its belief w condenses on fewer. Told at each
step of a trajectory, as means over the pixels of a seed's image:

    entropy                 H = -sum_j w_j ln w_j, in nats, and its share of ln |D|, |D| the patches that the pixel may match
    effective numbers       1 / sum w², of patches and of images, as the mean of their logarithms
    decided                 the share of pixels with H < ln 2: fewer than two equally likely sources

A machine starts to copy where half of the pixels are decided: whole images, if it sees whole images; patch by patch, and from
different images, if it sees patches. A pixel whose patch occurs many times in the training set, such as empty background, never
is decided: its entropy stays at the logarithm of that number.

References:
    Hunt, Kamb & Ganguli 2026, arXiv 2607.08041 (entropy of the belief; memorisation when the information exceeds ln |D|).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.denoisers import PatchDenoiser, PosteriorDenoiser
from patchmosaic.denoisers.wrapper import Wrapper
from patchmosaic.errors import PatchMosaicError
from patchmosaic.generation import seed_keys, starting_points
from patchmosaic.locality import LARGEST_NOISE_LEVEL
from patchmosaic.progress import Progress, silent
from patchmosaic.provenance import Provenance, trace
from patchmosaic.sampling import ddim, uniform_times
from patchmosaic.store import SeedStore

DECIDED = math.log(2)  # nats: the entropy of two equally likely sources
QUANTITIES = ("entropy", "entropy_share", "ln_effective_patches", "ln_effective_images", "decided", "ln_candidates")


@dataclass(frozen=True)
class Beliefs:
    """The beliefs of one machine along its trajectories.

    Attributes:
        patch_sizes: the window at each step; None where the machine sees the whole image.
        mean: quantity -> (seeds, steps), the mean over the pixels.
        spread: quantity -> (seeds, steps), the standard deviation over the pixels.
    """

    patch_sizes: tuple[int | None, ...]
    mean: dict[str, Float64[Tensor, "seeds steps"]]
    spread: dict[str, Float64[Tensor, "seeds steps"]]

    def over_seeds(self, quantity: str) -> tuple[Float64[Tensor, " steps"], Float64[Tensor, " steps"]]:
        """Mean and standard deviation over seeds; with one seed the latter is 0."""
        values = self.mean[quantity]
        return values.mean(0), values.std(0, correction=min(1, len(values) - 1))


@dataclass(frozen=True)
class BeliefDynamics:
    """The beliefs of machines on the same seeds.

    Attributes:
        seeds: their numbers.
        noise_levels: (steps,) sigma / alpha of each step, falling.
        machines: name -> its beliefs.
    """

    seeds: tuple[int, ...]
    noise_levels: tuple[float, ...]
    machines: dict[str, Beliefs]

    def onset(self, machine: str) -> float | None:
        """The noise level below which at least half of the pixels of all seeds are decided; None where there is none."""
        share, _ = self.machines[machine].over_seeds("decided")
        return highest_crossing(self.noise_levels[::-1], share.flip(0).tolist())

    def to_json(self) -> dict[str, Any]:
        """The numbers, as JSON-able data."""
        return {
            "seeds": list(self.seeds),
            "noise_levels": list(self.noise_levels),
            "decided_below": DECIDED,
            "machines": {
                name: {
                    "patch_sizes": list(beliefs.patch_sizes),
                    "source_known_below": self.onset(name),
                    "mean": {quantity: values.tolist() for quantity, values in beliefs.mean.items()},
                    "spread_over_pixels": {quantity: values.tolist() for quantity, values in beliefs.spread.items()},
                }
                for name, beliefs in self.machines.items()
            },
        }


def belief_dynamics(
    machines: Mapping[str, PosteriorDenoiser],
    seeds: int | Sequence[int] = 8,
    steps: int = 20,
    *,
    labels: Int64[Tensor, " n"] | None = None,
    batch_size: int = 4,
    keep: Path | None = None,
    progress: Progress = silent,
) -> BeliefDynamics:
    """Run DDIM with each machine from the same seeds, and listen to the beliefs of its pixels.

    Args:
        machines: name -> machine, all of one schedule.
        seeds: how many, or which; their noise is that of `compare` and `generate`.
        labels: the class of each seed, or None.
        batch_size: seeds drawn together; does not change the result.
        keep: a folder that remembers finished seeds.
        progress: called with the machine's name and the steps done over all its seeds.

    Raises:
        PatchMosaicError: no machine, one that has no beliefs over training pixels, or several schedules.
    """
    if not machines or len({machine.schedule for machine in machines.values()}) > 1:
        raise PatchMosaicError("beliefs are compared at the noise levels of one schedule", got=list(machines) or "no machine")
    numbers = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    schedule = next(iter(machines.values())).schedule
    levels = [float(level) for level in schedule.noise_level(uniform_times(steps))]
    found = {}
    for name, machine in machines.items():
        keys = seed_keys(numbers, labels if machine.classes else None)
        store = SeedStore(keep, f"beliefs-{name}", {**machine.describe(), "steps": steps, "quantities": list(QUANTITIES)})
        missing = store.missing(keys)
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            listening = _Listening(machine)
            x_T, label = starting_points(machine, batch, machine.image_shape, 0)
            for _ in ddim(listening, x_T, steps, label):
                progress(f"beliefs of {name}", start * steps + len(listening.heard) * len(batch), len(missing) * steps)
            for key, result in zip(batch, torch.stack(listening.heard, 2), strict=True):
                store.put(key, result)
        stored = store.get(keys)  # (seeds, 2, steps, quantities)
        mean, spread = ({q: part[..., i] for i, q in enumerate(QUANTITIES)} for part in stored.unbind(1))
        sizes = tuple(machine.size_at(level) if isinstance(machine, PatchDenoiser) else None for level in levels)
        found[name] = Beliefs(sizes, mean, spread)
    return BeliefDynamics(tuple(numbers), tuple(min(level, LARGEST_NOISE_LEVEL) for level in levels), found)


def highest_crossing(levels: Sequence[float], share: Sequence[float], least: float = 0.5) -> float | None:
    """The level up to which `share` stays at `least` or above; between two of the rising `levels`, linear in their logarithm.

    None where it is below already at the lowest; the highest level where it never falls below.
    """
    below = next((i for i, value in enumerate(share) if value < least), len(share))
    if below == 0:
        return None
    if below == len(share):
        return levels[-1]
    weight = (share[below - 1] - least) / (share[below - 1] - share[below])
    return math.exp((1 - weight) * math.log(levels[below - 1]) + weight * math.log(levels[below]))


class _Listening(Wrapper):
    """The machine, with what its pixels believe at each call written down."""

    def __init__(self, machine: PosteriorDenoiser) -> None:
        super().__init__(machine)
        self.heard: list[Float64[Tensor, "B 2 quantities"]] = []

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        provenance = trace(self.machine, x_t, float(t[0]), label, top=1)
        values = quantities(provenance)  # (B, H, W, quantities)
        self.heard.append(torch.stack([values.mean((1, 2)), values.std((1, 2), correction=0)], 1))
        return provenance.x0_hat

    def describe(self) -> dict[str, Any]:
        """As the machine."""
        return self.machine.describe()


def quantities(provenance: Provenance) -> Float64[Tensor, "B H W quantities"]:
    """What is told of each pixel's belief, in the order of `QUANTITIES`."""
    return torch.stack(
        [
            provenance.entropy,
            provenance.entropy_share,
            provenance.effective_patches.log(),
            provenance.effective_images.log(),
            (provenance.entropy < DECIDED).double(),
            provenance.candidates.double().log(),
        ],
        -1,
    )
