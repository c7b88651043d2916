"""The samples that a denoiser draws from many seeds, in batches, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser
from patchmosaic.errors import ShapeError
from patchmosaic.progress import Progress, silent
from patchmosaic.sampling import ddim, seeds
from patchmosaic.store import SeedKey, SeedStore


def generate(
    denoiser: Denoiser,
    numbers: Sequence[int],
    *,
    steps: int = 20,
    labels: Int64[Tensor, " n"] | None = None,
    seed: int = 0,
    image_shape: tuple[int, int, int] | None = None,
    batch_size: int = 4,
    keep: Path | None = None,
    name: str = "samples",
    progress: Progress = silent,
) -> Float[Tensor, "n C H W"]:
    """The DDIM samples of the seeds numbered in `numbers`, on the CPU.

    Args:
        numbers, seed: which noise, as for `patchmosaic.seeds`.
        labels: (n,) the class of each, or None.
        image_shape: (C, H, W); the denoiser's own by default.
        batch_size: seeds drawn together, and lost together by a kill; does not change the result.
        keep: a folder that remembers finished seeds, so that the same call later does only what is missing.
        name: what progress and the folder call it.
        progress: called with `name`, the denoising steps done and their total.
    """
    keys = seed_keys(numbers, labels)
    shape = image_shape or getattr(denoiser, "image_shape", None)
    if shape is None:
        raise ShapeError("the network's image shape is not known yet", got="none", hint="Give image_shape=(C, H, W).")
    store = SeedStore(keep, name, {**denoiser.describe(), "steps": steps, "stream": seed})
    missing = store.missing(keys)
    for start in range(0, len(missing), batch_size):
        batch = missing[start : start + batch_size]
        x_T, label = starting_points(denoiser, batch, shape, seed)
        samples = x_T
        for i, step in enumerate(ddim(denoiser, x_T, steps, label)):
            samples = step.x_next
            progress(name, start * steps + (i + 1) * len(batch), steps * len(missing))
        for key, image in zip(batch, samples, strict=True):
            store.put(key, image)
    return store.get(keys)


def seed_keys(numbers: Sequence[int], labels: Tensor | None) -> list[SeedKey]:
    """Seed numbers with the class of each."""
    classes = [None] * len(numbers) if labels is None else labels.tolist()
    return list(zip((int(number) for number in numbers), classes, strict=True))


def starting_points(
    denoiser: Denoiser, keys: Sequence[SeedKey], image_shape: tuple[int, int, int], seed: int
) -> tuple[Tensor, Tensor | None]:
    """x_T and labels of some seeds, on the denoiser's device and scaled to its schedule."""
    x_T = seeds([number for number, _ in keys], image_shape, seed) * denoiser.schedule.prior_std()
    classes = [label for _, label in keys]
    label = None if None in classes else torch.tensor(classes, device=denoiser.device)
    return x_T.to(denoiser.device), label
