"""Soft windows: each offset has its own precision, from not seen at all to seen fully.

    x0_hat(p) = sum_j w_j(p) phi_j(q_j),    y = x_t / alpha_t,    gamma = (alpha_t / sigma_t)²
    w(p) = softmax_j(-gamma/2 sum_o k(o) |y(p + o) - phi_j(q_j + o)|²)

A square window, k = 1 inside and 0 outside, is LS, bbELS or ELS: what may be matched is a rule, as there. The window is data, a
P x P tensor: any shape, the same at all noise levels or different ones.

References:
    Niedoba et al. 2026, "Filtered posterior mean collections" (the query precision of an FPMC).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.posterior import PosteriorDenoiser, Question
from patchmosaic.engine.box_sums import box_sum_footprint
from patchmosaic.engine.matching import Rule, admitted_places
from patchmosaic.engine.memory import DEFAULT_BUDGET, Footprint
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.engine.windows import placed, soft_patch_posterior, window_footprint, window_posterior
from patchmosaic.errors import NoiseLevelError, PatchSizeError, ValueRangeError
from patchmosaic.locality import check_patch_size, nearest_level
from patchmosaic.noise import NoiseSchedule

Window = Float[Tensor, "rows columns"]


class SoftWindowDenoiser(PosteriorDenoiser):
    """A patch machine whose window weighs its offsets.

    Args:
        pool: the training images.
        window: k, (P, P), P odd, from 0 up, its middle the pixel itself; or one for each of some noise levels sigma / alpha,
            of which the nearest on a log scale counts. `gaussian_window` and `nested_squares` make some.
        rule: where a pixel may look. "same position" is LS, "same border" bbELS (the border is P // 2 wide, whatever the
            weights), "anywhere" ELS, "anywhere inside" ELS with training_padding="valid".
        schedule, memory_budget: see PosteriorDenoiser.

    Raises:
        PatchSizeError: a window that is not square and odd; with ELS, one larger than the image.
        ValueRangeError: weights that are negative or not finite.
        NoiseLevelError: noise levels that are not positive, or none.
    """

    def __init__(
        self,
        pool: ImageSet,
        window: Window | Mapping[float, Window],
        rule: Rule = "same position",
        *,
        schedule: NoiseSchedule | None = None,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        super().__init__(pool, schedule=schedule, memory_budget=memory_budget)
        windows = {1.0: window} if isinstance(window, Tensor) else window
        if not windows or not all(0 < level < math.inf for level in windows):
            raise NoiseLevelError("windows belong to positive noise levels", got=list(windows))
        largest = None if rule in ("same position", "same border") else min(pool.image_shape[1:])
        self.windows = {float(level): _checked(windows[level], largest) for level in sorted(windows)}
        self.rule: Rule = rule

    def at_level(self, noise_level: float) -> Float64[Tensor, "P P"]:
        """The window at sigma / alpha."""
        return self.windows[self._nearest(noise_level)]

    @property
    def torus(self) -> bool:
        """As the rule says."""
        return self.rule in ("anywhere", "anywhere inside")

    def places(self, noise_level: float) -> Int64[Tensor, "H W"]:
        """As many as the rule admits."""
        return admitted_places(self.rule, self.image_shape[1:], len(self.at_level(noise_level)))

    def _nearest(self, noise_level: float) -> float:
        return nearest_level(self.windows, noise_level)

    def _footprint(self) -> Footprint:
        if self.rule == "same position":
            return window_footprint(self.image_shape)
        return box_sum_footprint(self.image_shape, 1, max(len(window) for window in self.windows.values()))

    def _posterior(self, asked: Question) -> PosteriorSum:
        whole = asked.empty(len(asked.queries), self.image_shape, True, self.device)
        nearest = torch.tensor([self._nearest(level) for level in asked.levels.tolist()], dtype=torch.float64)
        for level in nearest.unique().tolist():
            here = (nearest == level).nonzero()[:, 0].to(self.device)
            window = self.windows[level].to(self.device)
            given, rest = self._given(asked[here]), (asked.dtype, self.memory_budget, asked.ranks, asked.empty)
            if self.rule == "same position":
                windows = placed(window, *self.image_shape[1:])
                whole[here] = window_posterior(*given, windows, (1, 1), *rest)
            else:
                whole[here] = soft_patch_posterior(*given, self.rule, window, *rest)
        return whole

    def describe(self) -> dict[str, Any]:
        """Class, pool, schedule, rule and the windows' hashes, as JSON-able data."""
        hashes = {str(level): _hash(window) for level, window in self.windows.items()}
        return {**super().describe(), "rule": self.rule, "windows": hashes}


def gaussian_window(width: float, patch_size: int) -> Float64[Tensor, "P P"]:
    """exp(-|o|² / (2 width²)) at the offsets o of a P x P window.

    Raises:
        ValueRangeError: a width that is not above 0.
        PatchSizeError: an even patch size.
    """
    if not width > 0:
        raise ValueRangeError("the width of a window is above 0", got=width)
    radius = check_patch_size(patch_size) // 2
    bell = (-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / width) ** 2).exp()
    return bell[:, None] * bell


def nested_squares(weights: Mapping[int, float]) -> Float64[Tensor, "P P"]:
    """The sum of centred squares, each with its weight: {3: 1.0, 7: 0.5} sees 3 x 3 with 1.5, the rest of 7 x 7 with .5.

    All windows that depend on the larger of |row| and |column| only, and fall outwards, are such; {P: 1.0} is a plain one.

    Raises:
        PatchSizeError: no squares, or an even one.
    """
    if not weights:
        raise PatchSizeError("a window needs at least one square", got="none")
    side = max(weights)
    window = torch.zeros(side, side, dtype=torch.float64)
    for size, weight in weights.items():
        edge = (side - check_patch_size(size)) // 2
        window[edge : side - edge, edge : side - edge] += weight
    return window


def _checked(window: Tensor, largest: int | None) -> Float64[Tensor, "P P"]:
    if window.ndim != 2 or window.shape[0] != window.shape[1] or len(window) % 2 == 0:
        raise PatchSizeError("a window is (P, P) with P odd", got=tuple(window.shape))
    if largest is not None and len(window) > largest:
        raise PatchSizeError(f"on a torus a window must fit the image: at most {largest}", got=len(window))
    window = window.double().cpu()
    if not bool((window.isfinite() & (window >= 0)).all()):
        raise ValueRangeError("precisions are finite numbers from 0 up", got=f"{float(window.min())} to {float(window.max())}")
    return window


def _hash(window: Float64[Tensor, "P P"]) -> str:
    return hashlib.sha256(repr(window.tolist()).encode()).hexdigest()[:16]
