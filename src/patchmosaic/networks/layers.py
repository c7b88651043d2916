"""Layers that torch does not have: batch normalisation without bias, and self-attention over pixels.

References:
    Ioffe & Szegedy 2015, "Batch normalization".
    Mohan, Kadkhodaie, Simoncelli & Fernandez-Granda 2020, "Robust and interpretable blind image denoising via bias-free
    convolutional neural networks".
    Vaswani et al. 2017, "Attention is all you need", section 3.2.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from patchmosaic.errors import ShapeError

HEAD_WIDTH = 32  # channels of an attention head


class BiasFreeBatchNorm(nn.Module):
    """h / sd(h) · gain, a number a channel; sd over batch and pixels, in evaluation its running average over training.

    Nothing is subtracted and nothing added: with the statistics fixed, scaling the input scales the output. The constants are
    those of nn.BatchNorm2d.
    """

    running_var: Tensor

    def __init__(self, width: int, *, momentum: float = 0.1, floor: float = 1e-5) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.register_buffer("running_var", torch.ones(width))
        self.momentum, self.floor = momentum, floor

    def forward(self, h: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        variance = self.running_var
        if self.training:
            variance = h.float().var((0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_var.lerp_(variance, self.momentum)
        return h * (self.gain * (variance + self.floor).rsqrt()).to(h.dtype)[:, None, None]


class SelfAttention(nn.Module):
    """h + Linear(softmax(q k') v), every pixel a token and no place given, so that it commutes with shifts.

    The last map starts at zero: a new network is the one without attention.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        if width % self.heads:
            raise ShapeError(f"a level with attention has a multiple of {HEAD_WIDTH} channels", got=width)
        self.normalisation = nn.GroupNorm(1, width)
        self.queries_keys_values = nn.Conv2d(width, 3 * width, 1)
        self.result = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.result.weight)
        nn.init.zeros_(cast(Tensor, self.result.bias))

    def forward(self, h: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        batch, width, height, across = h.shape
        tokens = self.queries_keys_values(self.normalisation(h)).reshape(batch, 3, self.heads, width // self.heads, -1)
        q, k, v = tokens.transpose(3, 4).unbind(1)  # each (B, heads, H W, width / heads)
        seen = scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(batch, width, height, across)
        return cast(Tensor, h + self.result(seen))
