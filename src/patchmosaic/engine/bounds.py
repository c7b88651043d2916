"""What leaving candidates out of a softmax average can cost, at most.

Let x be the weight of the candidates left out, relative to that of the candidates kept. Then the share r = x / (1 + x) of all
weight is missing, and with c the average of the candidates left out

    full average - kept average = r (c - kept average),    so that a value is wrong by at most r max(high - kept, kept - low)

where all values lie in [low, high]. Nothing is assumed of the candidates: duplicates, constant images and outliers included.

*Skipping.* Candidates more than theta below the running maximum of the log-weights are skipped. Each weighs at most exp(-theta)
of the likeliest, which is kept, so that x <= candidates exp(-theta) / s with s >= 1 the kept weight relative to the likeliest.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.engine.posterior import PosteriorSum


def skip_threshold(candidates: int, share: float) -> float:
    """The theta with which skipping leaves out at most `share` of the weight, whatever the candidates are.

    >>> round(skip_threshold(50_000 * 1024, 1e-8), 1)
    36.2
    """
    return math.log(candidates) - math.log(share)


def skipped_share(candidates: int, theta: float, kept: float = 1.0) -> float:
    """The most of the weight that skipping `candidates` below theta can leave out: the inverse of `skip_threshold`.

    Args:
        kept: s, the sum of the kept weights relative to the likeliest; what is known without looking is 1.
    """
    return math.exp(min(0.0, math.log(candidates) - theta - math.log(kept)))


def missing_share(kept: PosteriorSum, left_out: Float64[Tensor, "B h w"]) -> Float64[Tensor, "B h w"]:
    """r for candidates whose weights sum to at most exp(left_out), on the scale of the log-weights of `kept`."""
    return torch.sigmoid(left_out - kept.m - kept.s.log())


def worst_error(
    kept: PosteriorSum,
    left_out: Float64[Tensor, "B h w"],
    low: Float[Tensor, "*values"],
    high: Float[Tensor, "*values"],
) -> Float64[Tensor, " B"]:
    """Bound of the relative L2 error ‖full - kept‖ / ‖full‖ of a mean, a number a query; infinite where nothing can be said.

    Args:
        kept: the posterior over the candidates that were looked at.
        left_out: the others' weights sum to at most exp(left_out), on the same scale; -inf where there are none.
        low, high: what the values of candidates lie between, as tensors that broadcast to (B, C, H, W).
    """
    mean = kept.mean()
    error = (missing_share(kept, left_out)[:, None] * farthest(mean, low, high)).flatten(1).norm(dim=1)
    # ‖full‖ >= ‖kept‖ - error is all that is known of it.
    return torch.where(error == 0, error, error / (mean.flatten(1).norm(dim=1) - error).clamp_min(0))


def allowed_share(
    mean: Float64[Tensor, "B C H W"], tolerance: float, low: Float[Tensor, "*values"], high: Float[Tensor, "*values"]
) -> Float64[Tensor, " B"]:
    """The share that may be missing everywhere with `worst_error` still `tolerance`, if the kept average stays `mean`."""
    size, reach = mean.flatten(1).norm(dim=1), farthest(mean, low, high).flatten(1).norm(dim=1)
    return torch.where(reach == 0, 1.0, tolerance / (1 + tolerance) * size / reach).clamp_max(1.0)


def farthest(mean: Float64[Tensor, "B C H W"], low: Tensor, high: Tensor) -> Float64[Tensor, "B C H W"]:
    """How far from `mean` a value in [low, high] can be."""
    return torch.maximum(high - mean, mean - low)
