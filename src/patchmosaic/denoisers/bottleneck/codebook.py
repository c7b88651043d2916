"""A bottleneck of K codes: the denoiser can say K things, and they are the K best for its noise level.

    x0_hat = the code c_k nearest to D*(x_t),    {c_k} = argmin E min_k ‖D*(x_t) - c_k‖²

By Pythagoras' theorem, E‖x0 - g‖² = E‖x0 - D*‖² + E‖D* - g‖²: the best bottleneck is the best quantiser of the posterior means
D* of noisy images, found by K-means of a cloud of them. A sample is one of the K codes of the last noise level; with as many
codes as there are images it memorises.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.base import samples_by_label
from patchmosaic.denoisers.composed import ComposedDenoiser
from patchmosaic.denoisers.ideal import IdealDenoiser
from patchmosaic.engine.memory import CACHE_BYTES, DEFAULT_BUDGET, WIDEST
from patchmosaic.errors import ValueRangeError
from patchmosaic.noise import NoiseSchedule

ROUNDS = 100  # of K-means, at most


class CodebookDenoiser(ComposedDenoiser):
    """The Bayes denoiser with K different answers at each noise level; with a label, K of that class.

    Codes are fitted when a noise level is first asked for, and kept. Nothing in them is left to chance: the noise of the cloud
    and the first centres of K-means are those of the seed.

    Args:
        pool: the training images.
        codes: K.
        cloud: how many noisy images the codes are fitted to, at least K; each image of the pool occurs equally often.
        seed: of their noise, and of the first centres.
        schedule, memory_budget: see PosteriorDenoiser.

    Raises:
        ValueRangeError: no codes, or fewer points than codes.
    """

    def __init__(
        self,
        pool: ImageSet,
        codes: int,
        *,
        cloud: int = 4096,
        seed: int = 0,
        schedule: NoiseSchedule | None = None,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        super().__init__(IdealDenoiser(pool, schedule=schedule, memory_budget=memory_budget))
        if not 1 <= codes <= cloud:
            raise ValueRangeError("there is at least one code, and no more than points in the cloud", got=f"{codes}, {cloud}")
        self.pool, self.codes, self.cloud, self.seed = pool, codes, cloud, seed
        self._fitted: dict[tuple[float, int | None], Float64[Tensor, "K C H W"]] = {}

    def codebook(self, t: float, label: int | None = None) -> Float64[Tensor, "K C H W"]:
        """The codes at time t: fewer than asked for where the posterior means are not as many different ones."""
        if (t, label) not in self._fitted:
            centres = kmeans(self.posterior_means(t, label).flatten(1), self.codes, self.seed)
            self._fitted[t, label] = centres.view(-1, *self.image_shape)
        return self._fitted[t, label]

    def posterior_means(self, t: float, label: int | None = None) -> Float64[Tensor, "M C H W"]:
        """D* of the noisy images that the codes of time t are fitted to."""
        generator = torch.Generator().manual_seed(self.seed)
        images = torch.arange(len(self.pool)) if label is None else self.pool.of_class(label)
        images = images[torch.randperm(len(images), generator=generator)].repeat(-(-self.cloud // len(images)))[: self.cloud]
        noise = torch.randn(self.cloud, *self.image_shape, generator=generator, dtype=torch.float64)
        alpha, sigma = (float(scale) for scale in self.schedule(t))
        x_t = (alpha * self.pool.at(images, torch.float64) + sigma * noise).to(self.device)
        means: Tensor = self.inner(x_t, t, label)
        return means

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        means = self.inner._denoise(x_t.double(), t, label)
        x0_hat = torch.empty_like(x_t)
        for value, samples in samples_by_label(label, len(x_t), x_t.device):
            for time in t[samples].unique().tolist():
                here = samples[t[samples] == time]
                codes = self.codebook(time, value).to(x_t.device)
                x0_hat[here] = codes[nearest(means[here].flatten(1), codes.flatten(1))].to(x_t)
        return x0_hat

    def describe(self) -> dict[str, Any]:
        """Class, inner denoiser, schedule and how the codes are fitted, as JSON-able data."""
        return {**super().describe(), "codes": self.codes, "cloud": self.cloud, "seed": self.seed}


def kmeans(points: Float64[Tensor, "M D"], count: int, seed: int = 0) -> Float64[Tensor, "K D"]:
    """At most `count` centres with a small mean squared distance to the nearest: Lloyd's rounds from K-means++ centres.

    Fewer centres where there are fewer different points. The same call gives the same bits.

    References:
        Arthur & Vassilvitskii 2007, "k-means++: the advantages of careful seeding".
    """
    centres = _spread(points, count, seed)
    before = None
    for _ in range(ROUNDS):
        owner = nearest(points, centres)
        if before is not None and torch.equal(owner, before):
            break
        before = owner
        sizes = torch.bincount(owner, minlength=len(centres))[:, None]
        sums = torch.zeros_like(centres).index_add_(0, owner, points)
        centres = torch.where(sizes > 0, sums / sizes.clamp_min(1), centres)
    return centres


def nearest(points: Float64[Tensor, "M D"], centres: Float64[Tensor, "K D"]) -> Int64[Tensor, " M"]:
    """The number of the nearest centre of each point."""
    half_norms = centres.square().sum(1) / 2
    at_once = max(1, CACHE_BYTES // (WIDEST * len(centres)))
    return torch.cat([(half_norms - some @ centres.T).argmin(1) for some in points.split(at_once)])


def _spread(points: Tensor, count: int, seed: int) -> Tensor:
    """Points drawn one after another, each with probability proportional to its squared distance from those before."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [int(torch.randint(len(points), (), generator=generator))]
    distance = (points - points[chosen[0]]).square().sum(1)
    rounding = 1e-24 * float(points.square().sum(1).amax())  # closer than this, points are the same
    while len(chosen) < count and bool((distance > rounding).any()):
        draw = torch.rand((), generator=generator, dtype=torch.float64).to(points.device)
        reach = torch.where(distance > rounding, distance, torch.zeros_like(distance)).cumsum(0)
        chosen.append(int(torch.searchsorted(reach, draw * reach[-1], right=True).clamp_max(len(points) - 1)))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1))
    return points[chosen]
