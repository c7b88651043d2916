"""The time embedding: sines and cosines of t in [0, 1], and a learned vector for each class.

    emb(t, c) = [ sin(t f_0) ... sin(t f_{d-1})  cos(t f_0) ... cos(t f_{d-1}) ] + table_c,    f_j = 10000^(-j/(d-1))

t is not multiplied by 1,000 as in DDPM, so every component is a slow function of time. Kamb & Ganguli 2024, appendix.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from patchmosaic.errors import LabelError, ShapeError

LONGEST_PERIOD = 10_000.0


def time_embedding(t: Float[Tensor, " B"], width: int) -> Float[Tensor, "B width"]:
    """d = width/2 sines, then the d cosines of the same angles."""
    d = width // 2
    exponent = torch.arange(d, device=t.device, dtype=torch.float64) / (d - 1)
    angles = t.double()[:, None] * LONGEST_PERIOD**-exponent  # (B, d)
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(t.dtype)


class Embedding(nn.Module):
    """emb(t, c), without the class term where `num_classes` is None.

    Raises:
        ShapeError: a width that is odd or below 4.
        LabelError: less than one class.
    """

    def __init__(self, width: int, num_classes: int | None = None) -> None:
        super().__init__()
        if width < 4 or width % 2:
            raise ShapeError("an embedding has an even width of at least 4", got=width)
        if num_classes is not None and num_classes < 1:
            raise LabelError("a conditional network has at least one class", got=num_classes, hint="None: unconditional.")
        self.width = width
        self.table = None if num_classes is None else nn.Embedding(num_classes, width)

    def forward(self, t: Float[Tensor, " B"], label: Int64[Tensor, " B"] | None = None) -> Float[Tensor, "B width"]:
        embedding = time_embedding(t, self.width)
        return embedding if self.table is None else embedding + self.table(label)
