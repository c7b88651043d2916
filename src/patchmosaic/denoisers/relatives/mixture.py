"""Mixtures: the weighted sum of what several denoisers say, with weights that depend on the noise level.

    x0_hat = sum_k w_k(sigma / alpha) x0_hat_k

`fitted_weights` finds the weights from 0 up that make the sum nearest to given answers, by least squares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import scipy.optimize
import torch
from jaxtyping import Float64
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser
from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import nearest_level

SomeMixture = TypeVar("SomeMixture", bound="MixtureDenoiser")


class MixtureDenoiser(Denoiser):
    """A weighted sum of denoisers of one schedule and one image shape.

    Args:
        denoisers: K of them, at least one.
        weights: (K,) for each of some noise levels sigma / alpha, of which the nearest on a log scale counts.

    Raises:
        PatchMosaicError: no denoisers or weights, another number of weights, or denoisers that differ in schedule or shape.
    """

    def __init__(self, denoisers: Sequence[Denoiser], weights: Mapping[float, Sequence[float]]) -> None:
        if not denoisers or not weights or any(len(one) != len(denoisers) for one in weights.values()):
            counts = sorted({len(one) for one in weights.values()})
            raise PatchMosaicError(f"{len(denoisers)} denoisers need as many weights at each noise level", got=counts)
        first = denoisers[0]
        for other in denoisers[1:]:
            if other.schedule.to_json() != first.schedule.to_json() or other.image_shape != first.image_shape:
                raise PatchMosaicError("denoisers of a mixture have one schedule and one image shape", got=other.describe())
        self.denoisers = tuple(denoisers)
        self.weights = {float(level): tuple(map(float, weights[level])) for level in sorted(weights)}
        self.schedule, self.image_shape = first.schedule, first.image_shape
        self.classes = tuple(sorted(set.intersection(*(set(one.classes) for one in denoisers))))

    def at_level(self, noise_level: float) -> tuple[float, ...]:
        """The weights at sigma / alpha."""
        return self.weights[nearest_level(self.weights, noise_level)]

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        weights = x_t.new_tensor([self.at_level(level) for level in self.schedule.noise_level(t).tolist()])  # (B, K)
        answers = torch.stack([denoiser(x_t, t, label) for denoiser in self.denoisers], 1)  # (B, K, C, H, W)
        return (weights[:, :, None, None, None] * answers).sum(1)

    @property
    def device(self) -> torch.device:
        """Where the denoisers compute."""
        return self.denoisers[0].device

    def to(self: SomeMixture, device: torch.device | str) -> SomeMixture:
        """Move all to a device, in place; returns the mixture."""
        for denoiser in self.denoisers:
            denoiser.to(device)
        return self

    def describe(self) -> dict[str, Any]:
        """Class, denoisers, weights and schedule, as JSON-able data."""
        return {
            "denoiser": type(self).__name__,
            "mixed": [denoiser.describe() for denoiser in self.denoisers],
            "weights": {str(level): list(weights) for level, weights in self.weights.items()},
            "schedule": self.schedule.to_json(),
        }


def fitted_weights(gram: Float64[Tensor, "n n"]) -> list[float]:
    """The weights w >= 0 of least ‖sum_k w_k a_k - b‖², from the inner products of a_1 ... a_K and, last, b.

    Raises:
        PatchMosaicError: no a_k.
    """
    if len(gram) < 2:
        raise PatchMosaicError("a mixture needs something to mix", got=tuple(gram.shape))
    # A = R'R turns |w'Aw - 2 w'c| into least squares of R w against R^-T c; eigenvectors, since A may be singular.
    values, vectors = torch.linalg.eigh(gram[:-1, :-1])
    roots = values.clamp_min(0).sqrt()
    inverse = torch.where(roots > 1e-9 * roots.max(), 1 / roots, 0.0)
    weights, _ = scipy.optimize.nnls((roots[:, None] * vectors.T).numpy(), (inverse * (vectors.T @ gram[:-1, -1])).numpy())
    return [float(weight) for weight in weights]
