"""Work on a network's own trajectories from the held-out seeds that calibration uses: one seed at a time, kept as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from patchmosaic.calibration import HELD_OUT_STREAM
from patchmosaic.experiments.papers.rows import SCHEDULE, RowRun
from patchmosaic.generation import seed_keys, starting_points
from patchmosaic.sampling import ddim, seed_labels
from patchmosaic.store import SeedStore

# (x_T (1, C, H, W), label (1,) or None) -> what is found from this seed, of one shape for all.
OfSeed = Callable[[Tensor, Tensor | None], Tensor]
# (x_t (1, C, H, W), t, label (1,) or None, the network's x0_hat) -> what is found at this step, of one shape for all.
OfStep = Callable[[Tensor, float, Tensor | None, Tensor], Tensor]


def held_out(row: RowRun, name: str, description: dict[str, Any], of_seed: OfSeed) -> Float64[Tensor, "seeds ..."]:
    """What `of_seed` finds for each of the row's calibration seeds.

    Args:
        name: of this work, in progress and on disk.
        description: everything that `of_seed` depends on beside the network and the number of steps, JSON-able.
    """
    numbers = range(row.recipe.calibration_seeds)
    labels = seed_labels(numbers, row.pool.classes, HELD_OUT_STREAM) if row.recipe.conditional else None
    keys = seed_keys(numbers, labels)
    store = SeedStore(row.keep, name, {**row.network.describe(), "steps": row.recipe.steps, **description})
    missing = store.missing(keys)
    for done, key in enumerate(missing, 1):
        x_T, label = starting_points(row.network, [key], row.pool.image_shape, HELD_OUT_STREAM)
        store.put(key, of_seed(x_T, label).double())
        row.progress(name, done, len(missing))
    return store.get(keys)


def along_trajectories(
    row: RowRun, name: str, description: dict[str, Any], of_step: OfStep
) -> Float64[Tensor, "seeds steps ..."]:
    """What `of_step` finds at each step, the lowest noise first, for each of the row's calibration seeds; see `held_out`."""

    def of_seed(x_T: Tensor, label: Tensor | None) -> Tensor:
        steps = ddim(row.network, x_T, row.recipe.steps, label)
        return torch.stack([of_step(step.x_t, step.t, label, step.x0_hat).cpu() for step in steps]).flip(0)

    return held_out(row, name, description, of_seed)


def noise_levels(row: RowRun) -> list[float]:
    """sigma_t / alpha_t of the row's steps, the lowest first."""
    return [float(SCHEDULE.noise_level((i + 1) / row.recipe.steps)) for i in range(row.recipe.steps)]
