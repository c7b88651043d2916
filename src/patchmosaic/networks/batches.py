"""What a training step sees, as a function of (seed, step) alone.

    batch s = entries s B ... (s+1) B - 1 of the concatenated permutations of the pool, one permutation an epoch
    t = 1 - u,  u ~ U[0, 1)        x_t = alpha_t x0 + sigma_t eps,  eps ~ N(0, I)

Nothing carries over from step to step, so a resumed run needs no random state. Times are continuous on (0, 1]: samplers
of any number of steps begin at t = 1, which the paper's randint(0, 1000)/1000 never shows to the network, while its
t = 0, where sigma may be 0 and eps cannot be known from x_t, is left out. The paper's own times, `"thousandths"`, are offered
for trainings that follow it to the letter; at t = 0 a network that divides by sigma_t has no answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.noise import NoiseSchedule

Times = Literal["continuous", "thousandths"]


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's inputs and its target, eps."""

    x_t: Float32[Tensor, "B C H W"]
    t: Float32[Tensor, " B"]
    eps: Float32[Tensor, "B C H W"]
    label: Int64[Tensor, " B"] | None


def draw_batch(
    pool: ImageSet, schedule: NoiseSchedule, batch_size: int, seed: int, step: int, times: Times = "continuous"
) -> Batch:
    """The batch of a step, counted from 0. Labels are None where the pool has none."""
    index = batch_index(len(pool), batch_size, seed, step)
    generator = _generator("noise", seed, step)
    if times == "continuous":
        t = 1 - torch.rand(batch_size, generator=generator)
    else:
        t = torch.randint(1000, (batch_size,), generator=generator) / 1000
    eps = torch.randn((batch_size, *pool.image_shape), generator=generator)
    alpha, sigma = (scale.float()[:, None, None, None] for scale in schedule(t))
    return Batch(
        x_t=alpha * pool.at(index) + sigma * eps,
        t=t,
        eps=eps,
        label=None if pool.labels is None else pool.labels[index],
    )


def batch_index(count: int, batch_size: int, seed: int, step: int) -> Int64[Tensor, " batch_size"]:
    """Positions in a pool of `count` images. Every image is seen once an epoch; a batch may run over its end."""
    start = step * batch_size
    first, last = start // count, (start + batch_size - 1) // count
    order = torch.cat([_permutation(count, seed, epoch) for epoch in range(first, last + 1)])
    return order[start - first * count :][:batch_size]


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(count, generator=_generator("order", seed, epoch))


def _generator(purpose: str, seed: int, number: int) -> torch.Generator:
    digest = hashlib.sha256(f"{purpose}/{seed}/{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
