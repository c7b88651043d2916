"""One metric contract: how near a prediction is to what a network drew, for each seed, and medians over seeds.

For one seed let y be the network's image and p a machine's, as vectors over channels and pixels:

    r       Pearson correlation: one mean over channels and pixels, not squared
    r2      r²
    R2      coefficient of determination, 1 - ‖y - p‖² / ‖y - mean y‖²
    cosine  p·y / (‖p‖ ‖y‖)
    mse     mean (y - p)²

A correlation with a constant image is undefined and counted as 0. Intervals are bootstrap 95% intervals over seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.stats
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.errors import ShapeError


def pearson_r(p: Float64[Tensor, "S D"], y: Float64[Tensor, "S D"]) -> Float64[Tensor, " S"]:
    """Pearson correlation of each row."""
    return cosine(_centred(p), _centred(y))


def pearson_r2(p: Float64[Tensor, "S D"], y: Float64[Tensor, "S D"]) -> Float64[Tensor, " S"]:
    """Squared Pearson correlation of each row."""
    return pearson_r(p, y).square()


def determination(p: Float64[Tensor, "S D"], y: Float64[Tensor, "S D"]) -> Float64[Tensor, " S"]:
    """Coefficient of determination of each row: the share of the variance of y that p explains; may be negative."""
    total = _centred(y).square().sum(1)
    residual = (y - p).square().sum(1)
    return torch.where(total > 0, 1 - residual / total, torch.zeros_like(total))


def cosine(p: Float64[Tensor, "S D"], y: Float64[Tensor, "S D"]) -> Float64[Tensor, " S"]:
    """Cosine of each row; 0 where either is all zero."""
    lengths = p.norm(dim=1) * y.norm(dim=1)
    return torch.where(lengths > 0, (p * y).sum(1) / lengths, torch.zeros_like(lengths))


def mean_squared_error(p: Float64[Tensor, "S D"], y: Float64[Tensor, "S D"]) -> Float64[Tensor, " S"]:
    """Mean squared difference of each row, images in [-1, 1]."""
    return (y - p).square().mean(1)


def _centred(images: Tensor) -> Tensor:
    # The first pixel goes first: what is left of a constant image is then exactly 0.
    images = images - images[:, :1]
    return images - images.mean(1, keepdim=True)


METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "r": pearson_r,
    "r2": pearson_r2,
    "R2": determination,
    "cosine": cosine,
    "mse": mean_squared_error,
}


def measure(prediction: Float[Tensor, "S C H W"], truth: Float[Tensor, "S C H W"]) -> dict[str, Float64[Tensor, " S"]]:
    """Every metric for every seed, computed in float64.

    Raises:
        ShapeError: the two differ in shape.
    """
    if prediction.shape != truth.shape:
        raise ShapeError("prediction and truth must have the same shape", got=f"{prediction.shape} and {truth.shape}")
    p, y = prediction.double().flatten(1), truth.double().flatten(1)
    return {name: metric(p, y) for name, metric in METRICS.items()}


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap 95% interval over seeds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def median_interval(values: Float64[Tensor, " S"], resamples: int = 2000) -> Interval:
    """The median with a percentile bootstrap interval; with one seed there is no spread to resample."""
    array = values.double().numpy()
    median = float(np.median(array))
    if len(array) < 2 or float(np.ptp(array)) == 0.0:
        return Interval(median, median, median)
    interval = scipy.stats.bootstrap(
        (array,),
        np.median,
        n_resamples=resamples,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(median, float(interval.low), float(interval.high))
