"""What the studies measure of a denoiser and its samples, beside copies (`patchmosaic.analysis.memorisation`). Deterministic.

    error           mean (x0_hat - x0)² of noisy images whose x0 is known
    realism         how differently random features are distributed over samples and over held-out images

Realism is the mean over features of the Wasserstein-1 distance (scipy's) between the values that a feature takes on the
samples and on the held-out images, in units of its standard deviation over the latter. The features are those of two layers of
random convolutions with ReLU, averaged over a 4 x 4 grid of regions: a sliced Wasserstein distance whose slices are not
straight (Kolouri et al. 2019). Straight slices through many pixels see mostly mean and covariance, which samples of a Gaussian
share with real images; trained features would need weights that this library does not carry, and random ones serve outside the
domain of the trained (Naeem et al. 2020). Unlike the Fréchet distance it does not need more samples than features. Two sets of
real images are at a distance above 0 too, the smaller the larger the sets: measure it for comparison.

References:
    Kolouri, Nadjahi, Simsekli, Badeau & Rohde 2019, "Generalized sliced Wasserstein distances".
    Naeem, Oh, Uh, Choi & Yoo 2020, "Reliable fidelity and diversity metrics for generative models".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy.stats
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, conv2d, relu

from patchmosaic.denoisers import Denoiser
from patchmosaic.sampling import seeds

FEATURES = (32, 64)  # of the two layers
REGIONS = 4  # a side
LEAST_SPREAD = 0.1  # of the mean feature's: the unit of one that hardly varies, such as the grey of an empty corner
NOISE_STREAM = 2**20  # seeds of the noise in `denoising_errors`, far from those that samples start from
AT_ONCE = 64  # noisy images


def denoising_errors(
    denoiser: Denoiser, images: Float[Tensor, "n C H W"], times: Sequence[float], seed: int = NOISE_STREAM
) -> list[float]:
    """The mean squared error of x0_hat at each time; image i has the same noise at all times and for every denoiser."""
    noise = seeds(len(images), images.shape[1:], seed)
    errors = []
    for t in times:
        alpha, sigma = (float(scale) for scale in denoiser.schedule(t))
        squares = 0.0
        for x0, eps in zip(images.split(AT_ONCE), noise.split(AT_ONCE), strict=True):
            x0_hat = denoiser((alpha * x0 + sigma * eps).to(denoiser.device), t).cpu()
            squares += float((x0_hat.double() - x0.double()).square().sum())
        errors.append(squares / images.numel())
    return errors


def realism_distance(samples: Float[Tensor, "S C H W"], real: Float[Tensor, "R C H W"]) -> float:
    """The distance of the module's docstring."""
    mine, theirs = random_features(samples).numpy(), random_features(real).numpy()
    spread = theirs.std(0)
    unit = np.maximum(spread, LEAST_SPREAD * spread.mean())
    distances = [scipy.stats.wasserstein_distance(a, b) for a, b in zip(mine.T, theirs.T, strict=True)]
    return float(np.mean(distances / unit))


def random_features(images: Float[Tensor, "n C H W"]) -> Float64[Tensor, "n features"]:
    """Two layers of random convolutions with ReLU and a pooling between them, averaged over a 4 x 4 grid of regions."""
    first, second = _filters(images.shape[1])
    features = []
    for part in images.split(AT_ONCE):
        h = relu(conv2d(part.float(), first, padding=2))
        h = avg_pool2d(h, 2) if min(h.shape[2:]) >= 2 * REGIONS else h
        h = relu(conv2d(h, second, padding=1))
        features.append(adaptive_avg_pool2d(h, REGIONS).flatten(1).double())
    return torch.cat(features)


@lru_cache(maxsize=4)
def _filters(channels: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn((FEATURES[0], channels, 5, 5), generator=generator) / (25 * channels) ** 0.5
    second = torch.randn((FEATURES[1], FEATURES[0], 3, 3), generator=generator) / (9 * FEATURES[0]) ** 0.5
    return first, second
