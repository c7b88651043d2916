"""The theorem of locally consistent points, checked: is every pixel the centre of the patch nearest to what it sees?

    x(p) = phi_n(q),    (n, q) = argmin over the patches that p may match of ‖window of x at p - window of phi_n at q‖²

holds at every pixel of what a local machine draws, if the reverse process converges as t -> 0 (Kamb & Ganguli 2024, theorem
4.1). The condition may fail: a trajectory of few steps ends at a noise level that is not small, and its last x0_hat still
averages several patches. The share of pixels for which it holds tells how far a drawing is from being a mosaic.

The window is the machine's smallest: that of no noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from patchmosaic.denoisers.posterior import PosteriorDenoiser
from patchmosaic.engine.memory import as_numbers
from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.generation import generate, seed_keys
from patchmosaic.noise import CosineSchedule
from patchmosaic.progress import Progress, silent
from patchmosaic.provenance.tracing import trace
from patchmosaic.sampling import seed_labels

HALF_STEP = 1 / 255  # of 8-bit images in [-1, 1]: closer, and both are stored as the same byte
# A softmax at this noise level is a minimum: patches share its weight only if their squared distances differ by less than 1e-8.
NO_NOISE = 1e-4
EQUALLY_NEAR = 0.5  # of the weight of the nearest


def consistent(
    machine: PosteriorDenoiser,
    images: Float[Tensor, "B C H W"],
    label: int | Tensor | None = None,
    *,
    tolerance: float = HALF_STEP,
    ties: int = 8,
) -> Bool[Tensor, "B H W"]:
    """Which pixels equal the centre of their nearest admissible patch.

    Args:
        machine: says which patches a pixel may match, and how large they are.
        images: in [-1, 1].
        label: class of each image, as for a call of the machine.
        tolerance: largest difference in any channel.
        ties: of equally near patches, as many are known; a pixel is consistent if it equals the centre of one of them.
    """
    shown = copy(machine)
    shown.schedule = CosineSchedule()  # the machine's own may not go down so far
    t = float(shown.schedule.time_of_snr(NO_NOISE**-2))
    alpha, _ = shown.schedule(t)
    nearest = trace(shown, float(alpha) * images.double(), t, label, top=ties)
    centres = as_numbers(
        machine.pool.stored[nearest.image, :, nearest.row, nearest.column], torch.float64
    )  # (B, H, W, ties, C)
    seen = images.double().movedim(1, -1)[..., None, :]
    equal = ((seen - centres).abs() <= tolerance).all(-1)
    return (equal & (nearest.weight >= EQUALLY_NEAR * nearest.weight[..., :1])).any(-1)


@dataclass(frozen=True, eq=False)
class Consistency:
    """Share of consistent pixels against the number of DDIM steps.

    Attributes:
        machine: its name.
        seeds: which noise.
        steps: numbers of steps, increasing.
        noise_levels: sigma / alpha of the last of so many steps.
        tolerance: largest difference that counts as none.
        shares: (steps, seeds) in [0, 1].
    """

    machine: str
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    noise_levels: tuple[float, ...]
    tolerance: float
    shares: Float64[Tensor, "steps seeds"]

    @property
    def mean(self) -> list[float]:
        """Over seeds, for each number of steps."""
        mean: list[float] = self.shares.mean(1).tolist()
        return mean

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary from which `from_json` rebuilds it."""
        return {**asdict(self), "shares": self.shares.tolist()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Consistency:
        """Rebuild what `to_json` described.

        Raises:
            CheckpointError: the record is something else.
        """
        try:
            several = {name: tuple(record[name]) for name in ("seeds", "steps", "noise_levels")}
            shares = torch.tensor(record["shares"], dtype=torch.float64)
            return cls(machine=record["machine"], tolerance=record["tolerance"], shares=shares, **several)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("not a study of consistency", got=str(record)[:80]) from error


def consistency(
    machine: PosteriorDenoiser,
    seeds: int | Sequence[int] = 8,
    steps: Sequence[int] = (5, 10, 20, 40, 80, 160),
    *,
    name: str,
    tolerance: float = HALF_STEP,
    batch_size: int = 4,
    keep: Path | None = None,
    progress: Progress = silent,
) -> Consistency:
    """Draw the same seeds in more and more steps, and count the consistent pixels.

    Args:
        machine: LS, ELS or bbELS; others are allowed, and need not converge to patches.
        seeds: how many, or which; of a machine with classes each has the class that `seed_labels` gives it.
        steps: numbers of DDIM steps.
        name: what results call the machine.
        tolerance: as for `consistent`.
        batch_size: seeds drawn together; does not change the result.
        keep: a folder that remembers finished seeds: the same call later draws only what is missing.
        progress: called with the steps of each drawing.

    Raises:
        PatchMosaicError: there are no numbers of steps.
    """
    if not steps:
        raise PatchMosaicError("there must be a number of steps", got="none")
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    labels = seed_labels(numbers, machine.classes) if machine.classes else None
    counts = sorted(set(steps))
    shares = torch.zeros(len(counts), len(numbers), dtype=torch.float64)
    for i, count in enumerate(counts):
        drawn = generate(
            machine,
            numbers,
            steps=count,
            labels=labels,
            batch_size=batch_size,
            keep=keep,
            name=f"{name}-{count}-steps",
            progress=progress,
        )
        for j, (_, label) in enumerate(seed_keys(numbers, labels)):
            shares[i, j] = consistent(machine, drawn[j : j + 1].to(machine.device), label, tolerance=tolerance).double().mean()
    levels = tuple(float(machine.schedule.noise_level(1 / count)) for count in counts)
    return Consistency(name, tuple(numbers), tuple(counts), levels, tolerance, shares)
