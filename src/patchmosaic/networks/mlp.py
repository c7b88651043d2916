"""Fully connected networks on flattened images: of growing width, or narrowed to a code.

    h_0 = x_t / (alpha_t² + sigma_t²)^½,    h_i = LeakyReLU(W_i h_{i-1} + b_i + V_i ReLU(emb(t, c))),    x0_hat = W h_last + b

No pixel is nearer to another and nothing is the same at two places: all that the network knows of images it has from the
training set. A narrow layer is a bottleneck: `MLP(shape, (512, 8, 512))` encodes the noisy image in a code of 8 numbers and
decodes x0_hat from it, so that at each time its outputs lie on a surface of 8 dimensions and so do its samples, the last
x0_hat. The decoder, like the encoder, is told the time.

The layers estimate x0 and the network returns the eps which that implies: see x0.py. Levine & Weiss 2026 use such networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

from patchmosaic.errors import ShapeError
from patchmosaic.networks.base import Network, seeded_weights
from patchmosaic.networks.embedding import Embedding
from patchmosaic.networks.x0 import as_schedule, implied_eps
from patchmosaic.noise import CosineSchedule, NoiseSchedule

SLOPE = 0.2


class MLP(Network):
    """eps_hat = mlp(x_t, t, label), for images of one shape.

    Args:
        image_shape: (C, H, W); points of D dimensions are images (D, 1, 1).
        widths: numbers in each hidden layer, in order.
        num_classes: labels run from 0 to num_classes - 1; None for an unconditional network.
        embedding_width: numbers in the embedding of (t, label).
        schedule: the schedule it is trained with, or its description.
        seed: of the first weights.

    Raises:
        ShapeError: a size that is not positive, or no hidden layer.
        LabelError: less than one class.
        PatchMosaicError: not the description of a schedule.
    """

    estimates_x0 = True

    def __init__(
        self,
        image_shape: Sequence[int],
        widths: Sequence[int] = (512, 512, 512),
        num_classes: int | None = None,
        embedding_width: int = 64,
        schedule: NoiseSchedule | Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ShapeError("image_shape must be (C, H, W), each at least 1", got=tuple(image_shape))
        if not widths or min(widths) < 1:
            raise ShapeError("an MLP has at least one hidden layer, of at least one number", got=tuple(widths))
        self.image_shape, self.widths = tuple(image_shape), tuple(widths)
        self.channels, self.num_classes = self.image_shape[0], num_classes
        self.schedule = CosineSchedule() if schedule is None else as_schedule(schedule)

        pixels = math.prod(self.image_shape)
        with seeded_weights(seed):
            self.embedding = Embedding(embedding_width, num_classes)
            self.layers = nn.ModuleList(
                nn.Linear(inputs, outputs) for inputs, outputs in zip((pixels, *widths), widths, strict=False)
            )
            self.shifts = nn.ModuleList(nn.Linear(embedding_width, width, bias=False) for width in widths)
            self.last = nn.Linear(widths[-1], pixels)

    def forward(
        self, x_t: Float[Tensor, "B C H W"], t: Float[Tensor, " B"], label: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """eps_hat, shaped like `x_t`.

        Raises:
            ShapeError: the images have another shape, or `t` is not one time a sample.
            LabelError: a label is missing, not wanted, or of no class.
        """
        self.check_inputs(x_t, t, label)
        if tuple(x_t.shape[1:]) != self.image_shape:
            raise ShapeError(f"this MLP takes images {self.image_shape} and no other", got=tuple(x_t.shape[1:]))
        alpha, sigma = self.schedule(t)
        # bfloat16 cannot tell t = 0.5 from 0.502, so under autocast the path of t stays in the weights' own precision.
        with torch.autocast(x_t.device.type, enabled=False):
            e = relu(self.embedding(t, label))
            shifts = [shift(e) for shift in self.shifts]
        h = x_t.flatten(1) / torch.hypot(alpha, sigma).to(x_t)[:, None]
        for layer, shift in zip(self.layers, shifts, strict=True):
            h = layer(h)
            h = leaky_relu(h + shift.to(h.dtype), SLOPE)
        return implied_eps(self.last(h).reshape(x_t.shape), x_t, t, self.schedule)

    @property
    def receptive_field(self) -> int:
        """The whole image, seen from a corner."""
        return 2 * max(self.image_shape[1:]) - 1

    def config(self) -> dict[str, Any]:
        """The keyword arguments of the constructor, but for the seed."""
        return {
            "image_shape": list(self.image_shape),
            "widths": list(self.widths),
            "num_classes": self.num_classes,
            "embedding_width": self.embedding.width,
            "schedule": self.schedule.to_json(),
        }
