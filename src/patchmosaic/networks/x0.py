"""Networks whose layers estimate x0: the noise that this implies, so that they keep the promise of all networks.

    eps_hat = (x_t - alpha_t x0_hat) / sigma_t

What such a network cannot represent, it leaves out of x0_hat; where its layers estimate eps, it leaves it out of the noise, and
the image keeps it. A network with a bottleneck, or without skips, therefore has to estimate x0. The objective "log_mse" is the
same for either, up to a constant; "mse" weighs the error of x0 by alpha_t²/sigma_t², without bound as t -> 0.

alpha_t and sigma_t are the network's own knowledge (as the preconditioning of Karras et al. 2022, section 5, is): its
configuration names the schedule, which must be that of its training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from patchmosaic.noise import NoiseSchedule, schedule_from_json


def as_schedule(given: NoiseSchedule | Mapping[str, Any]) -> NoiseSchedule:
    """A schedule, or the one that the `to_json` of a schedule describes; else PatchMosaicError."""
    return given if isinstance(given, NoiseSchedule) else schedule_from_json(dict(given))


def implied_eps(
    x0_hat: Float[Tensor, "B C H W"], x_t: Float[Tensor, "B C H W"], t: Float[Tensor, " B"], schedule: NoiseSchedule
) -> Float[Tensor, "B C H W"]:
    """eps_hat, in the precision of `x_t`; t > 0, as sigma_t must not be 0."""
    alpha, sigma = (scale.to(x_t)[:, None, None, None] for scale in schedule(t))
    return (x_t - alpha * x0_hat.to(x_t.dtype)) / sigma
