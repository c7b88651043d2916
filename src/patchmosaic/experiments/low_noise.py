"""What a patch machine draws where only its patch size at low noise changes.

Above a noise level sigma / alpha the machine keeps a locality scale, below it every patch is P x P. The steps above are the
same for every P: they are done once, and each P goes on from the states that they led to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from patchmosaic.data import ImageSet
from patchmosaic.denoisers import Denoiser
from patchmosaic.generation import seed_keys, starting_points
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule, NoiseSchedule
from patchmosaic.progress import Progress, silent
from patchmosaic.runs import build_machine
from patchmosaic.sampling import ddim, uniform_times
from patchmosaic.store import SeedKey, SeedStore

AT_ONCE = 4  # seeds: what a kill may lose


def at_low_noise(
    machine: str,
    pool: ImageSet,
    locality: LocalityScale,
    patch_sizes: Sequence[int],
    below: float,
    *,
    seeds: int,
    steps: int = 20,
    schedule: NoiseSchedule | None = None,
    device: torch.device | str = "cpu",
    keep: Path | None = None,
    progress: Progress = silent,
) -> dict[int | None, Float[Tensor, "seeds C H W"]]:
    """The samples of seeds 0 to `seeds` - 1 for every P; at None, those with `locality` at all noise levels.

    Args:
        machine: "LS", "ELS" or "bbELS".
        patch_sizes: P, odd.
        below: the noise level below which they hold.
        keep: a folder that remembers finished seeds.
        progress: called with the machine and P, and the seeds done.

    Raises:
        PatchMosaicError: no such machine.
        PatchSizeError: an impossible P.
    """
    schedule = schedule or CosineSchedule()
    keys = seed_keys(range(seeds), None)
    done = sum(float(schedule.noise_level(t)) >= below for t in uniform_times(steps).tolist())
    high = build_machine(machine, pool, locality, schedule=schedule).to(device)
    described = {**high.describe(), "steps": steps, "done": done}

    def begin(batch: Sequence[SeedKey]) -> Tensor:
        x_t, _ = starting_points(high, batch, pool.image_shape, 0)
        for step in islice(ddim(high, x_t, steps), done):
            x_t = step.x_next
        return x_t

    begun = SeedStore(keep, f"{machine}-high-noise", described)
    _fill(begun, keys, begin, f"{machine}, high noise", progress)

    def ended(denoiser: Denoiser, batch: Sequence[SeedKey]) -> Tensor:
        x_t = begun.get(batch).to(device)
        for step in ddim(denoiser, x_t, steps, done=done):
            x_t = step.x_next
        return x_t

    samples = {}
    for size in (None, *patch_sizes):
        low = high if size is None else build_machine(machine, pool, size, schedule=schedule).to(device)
        store = SeedStore(keep, f"{machine}-{size or 'calibrated'}", {**described, "low": low.describe()})
        name = f"{machine}, calibrated" if size is None else f"{machine}, P = {size}"
        _fill(store, keys, partial(ended, low), name, progress)
        samples[size] = store.get(keys)
    return samples


def _fill(
    store: SeedStore, keys: Sequence[SeedKey], draw: Callable[[Sequence[SeedKey]], Tensor], name: str, progress: Progress
) -> None:
    """Draw what is missing in a store, some seeds at a time."""
    missing = store.missing(keys)
    for start in range(0, len(missing), AT_ONCE):
        batch = missing[start : start + AT_ONCE]
        for key, image in zip(batch, draw(batch), strict=True):
            store.put(key, image)
        progress(name, start + len(batch), len(missing))
