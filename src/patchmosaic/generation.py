"""The samples that a denoiser draws from many seeds, in batches, by one process or several, resumable at every step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser
from patchmosaic.engine.distributed import ALONE, Ranks
from patchmosaic.errors import ShapeError
from patchmosaic.progress import Progress, silent
from patchmosaic.sampling import Solver, seeds, solve, step_noise
from patchmosaic.store import Batch, SeedKey, SeedStore

SAVE_EVERY = 1.0  # seconds between two saved states of a batch: with shorter steps, what a kill may lose


def generate(
    denoiser: Denoiser,
    numbers: Sequence[int],
    *,
    steps: int = 20,
    solver: Solver = "ddim",
    eta: float = 0.0,
    labels: Int64[Tensor, " n"] | None = None,
    seed: int = 0,
    image_shape: tuple[int, int, int] | None = None,
    batch_size: int = 4,
    keep: Path | None = None,
    name: str = "samples",
    ranks: Ranks = ALONE,
    progress: Progress = silent,
) -> Float[Tensor, "n C H W"]:
    """The samples of the seeds numbered in `numbers`, on the CPU.

    Args:
        numbers, seed: which noise, as for `patchmosaic.seeds`.
        steps, solver, eta: as for `patchmosaic.sample`.
        labels: (n,) the class of each, or None.
        image_shape: (C, H, W); the denoiser's own by default.
        batch_size: seeds drawn together; does not change the result.
        keep: a folder that remembers finished seeds, and the state of those at work: the same call later does only what is
            missing, and ends as if it had not been stopped.
        name: what progress and the folder call it.
        ranks: the processes that make this call together; all get the samples, and only the first looks into `keep`.
        progress: called with `name`, the denoising steps done and their total.
    """
    keys = seed_keys(numbers, labels)
    shape = image_shape or getattr(denoiser, "image_shape", None)
    if shape is None:
        raise ShapeError("the network's image shape is not known yet", got="none", hint="Give image_shape=(C, H, W).")
    # The description tells the content of the pool, which takes a look at every image: one process is enough for that.
    description = {**denoiser.describe(), "steps": steps, "stream": seed} if ranks.first else {}
    if (solver, eta) != ("ddim", 0.0):
        description |= {"solver": solver, "eta": eta}
    store = SeedStore(keep if ranks.first else None, name, description)
    batches = ranks.from_first(lambda: _batches(store, keys, batch_size))
    steps_done = sum(batch.done * len(batch.keys) for batch in batches)
    total = sum(steps * len(batch.keys) for batch in batches)
    saved = time.monotonic()
    for batch in batches:
        x_t, label = starting_points(denoiser, batch.keys, shape, seed)
        if batch.x_t is not None:
            x_t = batch.x_t.to(denoiser.device)
        noise = step_noise([number for number, _ in batch.keys], shape, seed)
        left = solve(denoiser, x_t, steps, label, done=batch.done, solver=solver, eta=eta, noise=noise)
        for done, step in enumerate(left, batch.done + 1):
            x_t = step.x_next
            if done < steps and time.monotonic() - saved > SAVE_EVERY:
                store.put_batch(Batch(batch.keys, done, x_t))
                saved = time.monotonic()
            steps_done += len(batch.keys)
            progress(name, steps_done, total)
        for key, image in zip(batch.keys, x_t, strict=True):
            store.put(key, image)
        store.put_batch(None)
    return ranks.from_first(lambda: store.get(keys))


def _batches(store: SeedStore, keys: Sequence[SeedKey], size: int) -> list[Batch]:
    """What is left to do for `keys`: first the batch that an earlier call left at some step, if it is wanted now."""
    missing, begun = store.missing(keys), store.batch()
    batches = []
    if begun is not None and set(begun.keys) <= set(keys) and not set(begun.keys).isdisjoint(missing):
        batches = [begun]
        missing = [key for key in missing if key not in begun.keys]
    return batches + [Batch(missing[start : start + size]) for start in range(0, len(missing), size)]


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
