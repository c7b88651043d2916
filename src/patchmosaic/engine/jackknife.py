"""The error of an average over a random subset of the candidates, estimated from independent parts of the subset.

With f(A) the softmax average over a set A of candidates, and a subset cut into k parts of which f_j leaves out the j-th,

    variance = (1 - seen) (k - 1) / k sum_j (f_j - mean of f_j)²

where `seen` is the share of all candidates that the subset holds: nothing is left to chance when it holds them all. This is an
estimate and no bound: it knows nothing of a candidate that is not in the subset.

The spread of the parts' own averages is another estimate, but only where many candidates compete. At low noise one candidate
has nearly all the weight: then the spread is 1.5 to 3 times too small, and the delta method's linearisation wrong by any
factor. Leaving a part out shows what losing the best candidate does (docs/approximation.md has the numbers).

References:
    Tukey 1958, "Bias and confidence in not quite large samples"; Efron & Tibshirani 1993, chapter 11.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.engine.posterior import PosteriorSum


def merged(parts: Sequence[PosteriorSum]) -> PosteriorSum:
    """The posterior over the candidates of all parts."""
    whole = parts[0][:]
    for part in parts[1:]:
        whole.merge_(part)
    return whole


def jackknife_variance(parts: Sequence[PosteriorSum], seen: float) -> Float64[Tensor, "B C H W"]:
    """Estimated square error of `merged(parts).mean()`, a value a pixel and channel.

    Args:
        parts: at least two random parts of equal size, or nearly so.
        seen: the share of all candidates that is in them, 0 to 1.
    """
    count = len(parts)
    without = torch.stack([merged([*parts[:j], *parts[j + 1 :]]).mean() for j in range(count)])
    return (1 - seen) * (count - 1) / count * (without - without.mean(0)).square().sum(0)


def relative_error(mean: Float[Tensor, "B C H W"], variance: Float64[Tensor, "B C H W"]) -> Float64[Tensor, " B"]:
    """Estimated ‖error‖ / ‖mean‖ of each query; infinite where the mean is 0 and the error is not."""
    error, size = (square.flatten(1).sum(1).sqrt() for square in (variance, mean.double().square()))
    return torch.where(error == 0, error, error / size)
