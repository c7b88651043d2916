"""What the patch machines share: a patch size that may depend on the noise level, and a rule of where a pixel may match."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.posterior import PosteriorDenoiser, Question
from patchmosaic.engine.matching import Rule, admitted_places
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
        x0_hats = x_t.new_zeros(len(patch_sizes), *x_t.shape)
        footprint = patch_footprint(self.image_shape, patch_sizes, self.rule, self.device)
        for samples, asked in self._questions(x_t, times, labels, footprint):
            sums = self._patch_posteriors(asked, tuple(patch_sizes))
            x0_hats[:, samples] = torch.stack([state.mean() for state in sums]).to(x_t)
        return self._ranks.gather(x0_hats)

    def size_at(self, noise_level: float) -> int:
        """The patch size at sigma / alpha = `noise_level`."""
        return self.patch_size if isinstance(self.patch_size, int) else self.patch_size(noise_level)

    @property
    def torus(self) -> bool:
        """As the rule says."""
        return self.rule in ("anywhere", "anywhere inside")

    def places(self, noise_level: float) -> Int64[Tensor, "H W"]:
        """As many as the rule admits."""
        return admitted_places(self.rule, self.image_shape[1:], self.size_at(noise_level))

    def _footprint(self) -> Footprint:
        return patch_footprint(self.image_shape, self._sizes, self.rule, self.device)

    def _posterior(self, asked: Question) -> PosteriorSum:
        if isinstance(self.patch_size, int):
            return self._patch_posteriors(asked, (self.patch_size,))[0]
        sizes = torch.tensor([self.patch_size(level) for level in asked.levels.tolist()], device=self.device)
        whole = asked.empty(len(asked.queries), self.image_shape, True, self.device)
        for size in sizes.unique().tolist():
            here = (sizes == size).nonzero()[:, 0]
            whole[here] = self._patch_posteriors(asked[here], (size,))[0]
        return whole

    def _patch_posteriors(self, asked: Question, patch_sizes: tuple[int, ...]) -> list[PosteriorSum]:
        rest = (asked.dtype, self.memory_budget, asked.ranks, asked.empty)
        return patch_posteriors(*self._given(asked), self.rule, patch_sizes, *rest)

    def describe(self) -> dict[str, Any]:
        """Class, pool, schedule and patch size, as JSON-able data."""
        size = self.patch_size.to_json() if isinstance(self.patch_size, LocalityScale) else self.patch_size
        return {**super().describe(), "patch_size": size}
