"""What to know of a diffusers scheduler before its network is compared: where its own sampler differs from ours, and why.

The defaults of diffusers make pictures prettier and seeds incomparable: x0_hat is clipped, and noise that the network was
trained with is left out at the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from patchmosaic.interop.schedulers import OF_EDM, schedule_of

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

LARGEST_GROWTH = 10.0  # of a network's error in one step of 20


class SchedulerWarning(UserWarning):
    """A remark on a scheduler."""


def remarks(scheduler: SchedulerMixin) -> list[str]:
    """What a user should know of a scheduler before comparing, with the remedy; nothing where there is nothing to tell."""
    config, name = scheduler.config, type(scheduler).__name__
    told = []
    if phrases := differences(scheduler):
        same = f'ddim_scheduler(network.schedule, "{config.prediction_type}", {config.num_train_timesteps})'
        told.append(
            f"{name} draws other images than `sample` does from the same noise: {'; '.join(phrases)}."
            + ("" if name in OF_EDM else f" patchmosaic.interop.{same} draws the same.")
        )
    if (steady := steady_timesteps(scheduler)) < config.num_train_timesteps:
        alpha, _ = schedule_of(scheduler)(1.0)
        told.append(
            f"At the last timestep the network's error in epsilon is divided by alpha = {float(alpha):.1g}: one step of 20"
            f" makes it more than {LARGEST_GROWTH:.0f} times as large. Take the first {steady} only (timesteps={steady})."
        )
    return told


def differences(scheduler: SchedulerMixin) -> list[str]:
    """What makes the scheduler's own sampler draw other images than ours from the same noise, a phrase each."""
    config = scheduler.config
    spacing = config.get("timestep_spacing", "trailing")
    told = {
        "clip_sample=True clips x0_hat to [-1, 1] at every step, ours is never clipped": config.get("clip_sample", False),
        "thresholding=True rescales x0_hat at every step, ours is never rescaled": config.get("thresholding", False),
        f'timestep_spacing="{spacing}" takes other timesteps, ours are those of "trailing"': spacing != "trailing",
        "its last step ends at the first noise level, ours at clean data": (
            not config.get("set_alpha_to_one", True) or config.get("final_sigmas_type", "zero") != "zero"
        ),
        "its noise levels are respaced, ours are uniform in timesteps": any(
            config.get(f"use_{kind}_sigmas", False) for kind in ("karras", "exponential", "beta")
        ),
    }
    return [phrase for phrase, holds in told.items() if holds]


def steady_timesteps(scheduler: SchedulerMixin) -> int:
    """How many timesteps, counted from the lowest noise, to take so that the first step from t = 1 is not ruled by error.

    x0_hat = (x_t - sigma_t eps_hat) / alpha_t, and a step to s keeps alpha_s of it: an error in epsilon grows by
    alpha_s / alpha_t. In the first of 20 steps that is 1.6 with DDPM's linear betas and 7 with the paper's cosine, but 1,600
    with cosine betas, which end at alpha = 5e-5. In diffusers clipping hides it, and not to start from the last timestep.
    """
    total = int(scheduler.config.num_train_timesteps)
    if type(scheduler).__name__ in OF_EDM or scheduler.config.prediction_type != "epsilon":
        return total
    schedule, t = schedule_of(scheduler), torch.arange(1, total + 1, dtype=torch.float64) / total
    growth = schedule(0.95 * t)[0] / schedule(t)[0]
    return int((growth <= LARGEST_GROWTH).nonzero().max()) + 1
