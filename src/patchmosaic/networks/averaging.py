"""The exponential moving average of a network's weights over its training.

    w_mean <- d w_mean + (1 - d) w,    d = 2^(-B / h),    h = min(half-life, images seen / 20)

for steps of B images: a step's weights count half after h further images. While training is young h grows with it, so that
the first weights are soon forgotten. Running statistics are not averaged but copied: they are averages already.

References:
    Karras, Aittala, Aila & Laine 2022, "Elucidating the design space of diffusion-based generative models", appendix F, for
    the half-life in images.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

RAMP = 0.05

SomeModule = TypeVar("SomeModule", bound=nn.Module)


def averaged_copy(module: SomeModule) -> SomeModule:
    """Where the average of the weights of `module` will be: a copy of it, in evaluation mode, without gradients."""
    return copy.deepcopy(module).eval().requires_grad_(False)


def decay(half_life: float, batch_size: int, step: int) -> float:
    """d at a step, counted from 0; the half-life in images."""
    seen = (step + 1) * batch_size
    return float(0.5 ** (batch_size / min(half_life, RAMP * seen)))


@torch.no_grad()
def update(average: nn.Module, module: nn.Module, kept: float) -> None:
    """Let the share `kept` of the average stay, and add the rest of the weights as they are now."""
    for mean, weights in zip(average.parameters(), module.parameters(), strict=True):
        mean.lerp_(weights, 1 - kept)
    for copied, now in zip(average.buffers(), module.buffers(), strict=True):
        copied.copy_(now)
