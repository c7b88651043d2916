"""What the patch machines share: a patch size that may depend on the noise level, and a rule of where a pixel may match."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.posterior import PosteriorDenoiser
from patchmosaic.engine.distributed import ALONE, Ranks
from patchmosaic.engine.matching import Rule
from patchmosaic.engine.memory import DEFAULT_BUDGET, Footprint
from patchmosaic.engine.patches import patch_footprint, patch_posteriors
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.locality import LocalityScale, check_patch_size
from patchmosaic.noise import NoiseSchedule


class PatchDenoiser(PosteriorDenoiser):
    """Base of the machines in which each pixel sees a P x P window and returns the mean centre of matching patches.

    Args:
        pool: the training images.
        patch_size: P, odd, or a LocalityScale that gives P for each noise level.
        schedule, memory_budget: see PosteriorDenoiser.

    Raises:
        PatchSizeError: P is even or not positive, or leaves no candidate patch.
    """

    def __init__(
        self,
        pool: ImageSet,
        patch_size: int | LocalityScale,
        *,
        schedule: NoiseSchedule | None = None,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        super().__init__(pool, schedule=schedule, memory_budget=memory_budget)
        self.patch_size = patch_size if isinstance(patch_size, LocalityScale) else check_patch_size(patch_size)
        self._sizes = tuple(patch_size.patch_sizes) if isinstance(patch_size, LocalityScale) else (patch_size,)
        for size in self._sizes:
            self._check_candidates(size)

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """Which training patches a pixel may match."""

    def _check_candidates(self, patch_size: int) -> None:
        """Raise PatchSizeError where no patch of this size can be matched; by default every size is good."""

    def at_patch_sizes(
        self,
        x_t: Float[Tensor, "B C H W"],
        t: float | Tensor,
        patch_sizes: Sequence[int],
        label: int | Tensor | None = None,
    ) -> Float[Tensor, "K B C H W"]:
        """x0_hat for each of `patch_sizes` in one pass over the pool; the denoiser's own patch_size plays no part.

        Raises:
            PatchSizeError: a size that is even, or leaves no candidate patch.
        """
        for size in patch_sizes:
            self._check_candidates(check_patch_size(size))
        x_t, times, labels = self._checked(x_t, t, label)
        queries, precision = self._queries(x_t, times)
        x0_hats = x_t.new_zeros(len(patch_sizes), *x_t.shape)
        footprint = patch_footprint(self.image_shape, patch_sizes, self.device)
        for index, ranks, samples in self._batches(labels, len(x_t), footprint):
            sums = self._patch_posteriors(queries[samples], precision[samples], tuple(patch_sizes), index, x_t.dtype, ranks)
            x0_hats[:, samples] = torch.stack([state.mean() for state in sums]).to(x_t)
        return self._ranks.gather(x0_hats)

    def _footprint(self) -> Footprint:
        return patch_footprint(self.image_shape, self._sizes, self.device)

    def _posterior(
        self,
        queries: Tensor,
        precision: Tensor,
        levels: Tensor,
        index: Tensor | None,
        dtype: torch.dtype,
        ranks: Ranks = ALONE,
    ) -> PosteriorSum:
        if isinstance(self.patch_size, int):
            return self._patch_posteriors(queries, precision, (self.patch_size,), index, dtype, ranks)[0]
        sizes = torch.tensor([self.patch_size(level) for level in levels.tolist()], device=queries.device)
        whole = PosteriorSum.empty(len(queries), self.image_shape, per_pixel=True, device=queries.device)
        for size in sizes.unique().tolist():
            here = (sizes == size).nonzero()[:, 0]
            whole[here] = self._patch_posteriors(queries[here], precision[here], (size,), index, dtype, ranks)[0]
        return whole

    def _patch_posteriors(
        self,
        queries: Tensor,
        precision: Tensor,
        patch_sizes: tuple[int, ...],
        index: Tensor | None,
        dtype: torch.dtype,
        ranks: Ranks,
    ) -> list[PosteriorSum]:
        return patch_posteriors(
            queries, precision, self._images, index, self.rule, patch_sizes, dtype, self.memory_budget, ranks
        )

    def describe(self) -> dict[str, Any]:
        """Class, pool, schedule and patch size, as JSON-able data."""
        size = self.patch_size.to_json() if isinstance(self.patch_size, LocalityScale) else self.patch_size
        return {**super().describe(), "patch_size": size}
