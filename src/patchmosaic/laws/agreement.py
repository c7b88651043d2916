"""How well samples agree with a law: moments, spectrum, support, and distances along directions.

For n independent samples of the law itself KS is about 0.87 / sqrt(n) on average, and below 1.63 / sqrt(n) with probability
.99: less is agreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.errors import ShapeError
from patchmosaic.laws.line import LineLaw, kolmogorov_smirnov, wasserstein

TINY = torch.finfo(torch.float64).tiny  # in place of the size of a law that is a single point


@dataclass(frozen=True)
class Agreement:
    """Samples beside the law they should follow.

    Attributes:
        count: how many samples.
        mean_error: |sample mean - mean|, a fraction of the law's root total variance.
        variance_ratio: total variance of the samples over that of the law.
        covariance_error: Frobenius norm of the difference, a fraction of the law's own norm.
        spectrum_error: sum of the absolute differences over all frequencies, a fraction of the law's total power.
        wasserstein: (K,) W1 along each direction, in units of the images.
        ks: (K,) Kolmogorov-Smirnov distance along each direction.
        off_support: the largest distance of a sample from what can be generated.
    """

    count: int
    mean_error: float
    variance_ratio: float
    covariance_error: float
    spectrum_error: float
    wasserstein: Float64[Tensor, " K"]
    ks: Float64[Tensor, " K"]
    off_support: float

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return {**vars(self), "wasserstein": self.wasserstein.tolist(), "ks": self.ks.tolist()}


def agreement(
    samples: Float[Tensor, "n C H W"],
    mean: Float64[Tensor, "C H W"],
    covariance: Float64[Tensor, "D D"],
    spectrum: Float64[Tensor, "C H W"],
    lines: Sequence[tuple[Float64[Tensor, "C H W"], LineLaw]],
    distances: Float64[Tensor, " n"],
) -> Agreement:
    """The samples beside what `Law` says of them.

    Args:
        lines: directions, each with the law along it.
        distances: of each sample from the law's support.

    Raises:
        ShapeError: fewer than two samples.
    """
    if len(samples) < 2:
        raise ShapeError("a comparison needs at least two samples", got=len(samples))
    drawn = samples.double()
    centred = drawn - drawn.mean(0)
    estimate = centred.flatten(1).T @ centred.flatten(1) / len(drawn)
    power = torch.fft.fft2(centred, norm="ortho").abs().square().mean(0)
    total = covariance.trace().clamp_min(TINY)
    projected = [(line, (drawn * direction).sum((1, 2, 3)).numpy()) for direction, line in lines]
    return Agreement(
        count=len(drawn),
        mean_error=float((drawn.mean(0) - mean).norm() / total.sqrt()),
        variance_ratio=float(estimate.trace() / total),
        covariance_error=float((estimate - covariance).norm() / covariance.norm().clamp_min(TINY)),
        spectrum_error=float((power - spectrum).abs().sum() / total),
        wasserstein=torch.tensor([wasserstein(line, numbers) for line, numbers in projected], dtype=torch.float64),
        ks=torch.tensor([kolmogorov_smirnov(line, numbers) for line, numbers in projected], dtype=torch.float64),
        off_support=float(distances.max()),
    )
