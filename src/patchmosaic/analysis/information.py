"""How much a window tells of its source, measured.

A training image phi_n is drawn from the pool, each pixel p of it is the source j = (n, p) of its own window, and the window is
seen in noise: y = phi_j + lambda eps, lambda = sigma / alpha. The machine's belief is then the true posterior of j, so that

    I(j; y) = ln |D| - E[entropy of the belief]          |D| the patches that the pixel may match

*exactly*, whatever the images: drawing gives an unbiased estimate. The pool being finite, I never exceeds ln |D|; where it
comes near, the belief has condensed on the source, and the machine copies. The smallest window for which it does, its critical
size, is measured as that from which half of the pixels have an entropy below ln 2. `capacity` says what it should be.

References:
    Hunt, Kamb & Ganguli 2026, arXiv 2607.08041 (information against ln |D|).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from patchmosaic.analysis.beliefs import QUANTITIES, highest_crossing, quantities
from patchmosaic.analysis.capacity import gaussian_information, white_critical_size
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import MACHINES, PatchDenoiser
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.errors import LabelError, NoiseLevelError, PatchMosaicError, PatchSizeError
from patchmosaic.locality import check_patch_size
from patchmosaic.noise import CosineSchedule, NoiseSchedule
from patchmosaic.progress import Progress, silent
from patchmosaic.provenance import trace
from patchmosaic.sampling import seeds
from patchmosaic.store import SeedKey, SeedStore

NOISE_STREAM = 2**21  # seeds of the noise, far from those that samples start from
AT_ONCE = 8  # draws


@dataclass(frozen=True)
class Information:
    """What windows tell of their sources, by noise level and patch size.

    Attributes:
        machine: "LS", "ELS" or "bbELS".
        noise_levels: the L levels sigma / alpha, rising.
        patch_sizes: the K sizes, rising.
        ln_candidates: (L, K) ln |D|, mean over pixels and draws.
        entropy: (draws, L, K) of the belief, mean over pixels.
        decided: (draws, L, K) the share of pixels with an entropy below ln 2.
        gaussian: (L, K) the bound of a Gaussian of the windows' covariance, in nats.
        value_std: s, the standard deviation of a pixel value.
        channels: C.
        covering: the smallest window that covers the image from every pixel: about the side on the torus, else twice that.
    """

    machine: str
    noise_levels: tuple[float, ...]
    patch_sizes: tuple[int, ...]
    ln_candidates: Float64[Tensor, "L K"]
    entropy: Float64[Tensor, "draws L K"]
    decided: Float64[Tensor, "draws L K"]
    gaussian: Float64[Tensor, "L K"]
    value_std: float
    channels: int
    covering: int

    @property
    def information(self) -> Float64[Tensor, "L K"]:
        """I, mean over pixels, in nats."""
        return self.ln_candidates - self.entropy.mean(0)

    @property
    def standard_error(self) -> Float64[Tensor, "L K"]:
        """Of the information, from the spread over draws."""
        draws = len(self.entropy)
        return self.entropy.std(0, correction=min(1, draws - 1)) / math.sqrt(draws)

    def onsets(self) -> dict[int, float | None]:
        """Patch size -> the noise level below which at least half of the pixels are decided: there the machine copies."""
        shares = self.decided.mean(0).T.tolist()
        return {size: highest_crossing(self.noise_levels, share) for size, share in zip(self.patch_sizes, shares, strict=True)}

    def critical_sizes(self) -> list[float | None]:
        """At each noise level the patch size from which half of the pixels are decided; None beyond the largest size.

        Between two of the sizes by interpolation, linear in the window's area; not below the smallest.
        """
        return [_first_reach(self.patch_sizes, share.tolist(), 0.5) for share in self.decided.mean(0)]

    def gaussian_critical_sizes(self) -> list[float | None]:
        """At each noise level the patch size at which the Gaussian bound reaches ln |D|: decided pixels need as much."""
        excess = self.gaussian - self.ln_candidates
        return [_first_reach(self.patch_sizes, row.tolist(), 0.0) for row in excess]

    def white_critical_sizes(self) -> list[float]:
        """P_c of white pixels at each noise level, with ln |D| of the smallest patch size."""
        return [
            white_critical_size(level, float(most), self.value_std, self.channels)
            for level, most in zip(self.noise_levels, self.ln_candidates[:, 0], strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """The numbers, as JSON-able data."""
        return {
            "machine": self.machine,
            "noise_levels": list(self.noise_levels),
            "patch_sizes": list(self.patch_sizes),
            "draws": len(self.entropy),
            "ln_candidates": self.ln_candidates.tolist(),
            "information": self.information.tolist(),
            "standard_error": self.standard_error.tolist(),
            "gaussian_bound": self.gaussian.tolist(),
            "decided": self.decided.mean(0).tolist(),
            "source_known_below": [{"patch_size": size, "noise_level": level} for size, level in self.onsets().items()],
            "critical_patch_size": self.critical_sizes(),
            "gaussian_critical_patch_size": self.gaussian_critical_sizes(),
            "white_critical_patch_size": self.white_critical_sizes(),
            "value_std": self.value_std,
        }


def information(
    pool: ImageSet,
    machine: str,
    noise_levels: Sequence[float],
    patch_sizes: Sequence[int],
    *,
    draws: int = 16,
    conditional: bool = False,
    schedule: NoiseSchedule | None = None,
    memory_budget: int = DEFAULT_BUDGET,
    keep: Path | None = None,
    progress: Progress = silent,
) -> Information:
    """Measure the information on true noisy images: training images in a seeded order, with noise added.

    Args:
        machine: "LS", "ELS" or "bbELS": in these the source of a window is always among what its pixel may match. With
            a window that covers the image LS is IS, and ELS is ES.
        noise_levels: sigma / alpha, positive, rising, within the schedule.
        patch_sizes: odd, rising; those that cover the image more than once are replaced by the smallest that covers it.
        draws: noisy images; all noise levels and patch sizes see the same.
        conditional: the class of the source is known, and only images of the class may match.
        keep: a folder that remembers finished draws.
        progress: called with the denoising steps done over all draws.

    Raises:
        PatchMosaicError: another machine, or fewer than one draw.
        NoiseLevelError, PatchSizeError: levels or sizes that are wrong or do not rise.
        LabelError: `conditional` without labels.
    """
    levels, sizes = tuple(float(level) for level in noise_levels), tuple(check_patch_size(size) for size in patch_sizes)
    if not sizes or sorted(set(sizes)) != list(sizes):
        raise PatchSizeError("patch sizes must rise", got=sizes)
    if draws < 1:
        raise PatchMosaicError("there must be at least one draw", got=draws)
    if conditional and pool.labels is None:
        raise LabelError("a known class needs labels", got="a pool without")
    side = max(pool.image_shape[1:])
    covering = side + 1 - side % 2 if machine == "ELS" else 2 * side - 1
    sizes = tuple(dict.fromkeys(min(size, covering) for size in sizes))
    machines = _machines(pool, machine, sizes, schedule or CosineSchedule(), memory_budget)
    times = _times(machines[0].schedule, levels)

    described = {**machines[0].describe(), "patch_size": list(sizes), "noise_levels": list(levels), "conditional": conditional}
    store = SeedStore(keep, f"information-{machine}", described)
    keys: list[SeedKey] = [(draw, None) for draw in range(draws)]
    missing = [draw for draw, _ in store.missing(keys)]
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))
    total, done = len(missing) * len(levels) * len(sizes), 0
    for start in range(0, len(missing), AT_ONCE):
        batch = missing[start : start + AT_ONCE]
        source = order[torch.tensor(batch) % len(pool)]
        label = pool.labels[source] if conditional and pool.labels is not None else None
        heard = []
        for values in _heard(machines, times, pool.at(source), seeds(batch, pool.image_shape, NOISE_STREAM), label):
            heard.append(values)
            done += len(batch)
            progress(f"information, {machine}", done, total)
        measured = torch.stack(heard, 1).unflatten(1, (len(levels), len(sizes)))
        for draw, result in zip(batch, measured, strict=True):
            store.put((draw, None), result)
    stored = store.get(keys)  # (draws, L, K, quantities)
    entropy, decided, most = (stored[..., QUANTITIES.index(name)] for name in ("entropy", "decided", "ln_candidates"))
    gaussian, value_std = gaussian_information(pool, sizes, levels)
    channels = pool.image_shape[0]
    return Information(machine, levels, sizes, most.mean(0), entropy, decided, gaussian, value_std, channels, covering)


def _heard(
    machines: Sequence[PatchDenoiser], times: Sequence[float], x0: Tensor, noise: Tensor, label: Tensor | None
) -> Iterator[Float64[Tensor, "b quantities"]]:
    """For each time and machine, the means over pixels of what is told of their beliefs about the noisy images."""
    for t in times:
        alpha, sigma = (float(scale) for scale in machines[0].schedule(t))
        for machine in machines:
            yield quantities(trace(machine, alpha * x0 + sigma * noise, t, label, top=1)).mean((1, 2))


def _machines(
    pool: ImageSet, name: str, sizes: Sequence[int], schedule: NoiseSchedule, memory_budget: int
) -> list[PatchDenoiser]:
    kind = MACHINES.get(name)
    if kind is None or not issubclass(kind, PatchDenoiser):
        raise PatchMosaicError("only patch machines have windows of a size", got=repr(name), hint="LS, ELS or bbELS.")
    return [kind(pool, size, schedule=schedule, memory_budget=memory_budget) for size in sizes]


def _times(schedule: NoiseSchedule, levels: Sequence[float]) -> list[float]:
    """The times of noise levels."""
    if not levels or levels[0] <= 0 or sorted(set(levels)) != list(levels):
        raise NoiseLevelError("noise levels must be positive and rise", got=levels)
    times = schedule.time_of_snr(torch.tensor(levels, dtype=torch.float64) ** -2)
    reached = schedule.noise_level(times).tolist()
    if any(abs(math.log(there / level)) > 1e-6 for there, level in zip(reached, levels, strict=True)):
        raise NoiseLevelError("noise levels must be reached by the schedule", got=levels, hint=f"Up to {max(reached):.4g}.")
    return [float(t) for t in times]


def _first_reach(sizes: Sequence[int], values: Sequence[float], least: float) -> float | None:
    """The first size at which `values` reach `least`, by interpolation linear in the area."""
    above = next((i for i, value in enumerate(values) if value >= least), None)
    if above is None or above == 0:
        return None if above is None else float(sizes[0])
    weight = (least - values[above - 1]) / (values[above] - values[above - 1])
    return math.sqrt((1 - weight) * sizes[above - 1] ** 2 + weight * sizes[above] ** 2)
