"""What is known of a row of the architecture study when its two networks are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.analysis.memorisation import COPY_THRESHOLD

TIMES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
HALVES = ("A", "B")


@dataclass(frozen=True)
class Measures:
    """What is measured of one network. Samples are clipped to [-1, 1] first, as they are shown."""

    train_errors: list[float]  # at TIMES, of x0_hat on images that it was trained on
    test_errors: list[float]  # on held-out images
    nearest_ratios: list[float]  # of each seed's sample, in the images that it was trained on
    realism: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """A variant, its samples and its measures.

    Attributes:
        factor, name, title: of the variant.
        parameters: of the network; 0 for a closed form.
        halves: the measures of the networks, by the half that they were trained on.
        agreement: Pearson r between the samples that the two draw from each seed.
        seconds: that the call took which finished it.
        samples: (2, S, C, H, W) in [-1, 1], of each half and seed.
    """

    factor: str
    name: str
    title: str
    parameters: int
    halves: dict[str, Measures]
    agreement: list[float]
    seconds: float
    samples: Float[Tensor, "halves S C H W"]

    @property
    def nearest_ratio(self) -> float:
        """Median over the samples of both networks."""
        return float(self._ratios().quantile(0.5))

    @property
    def copies(self) -> float:
        """The share of samples whose nearest ratio is below a third."""
        return float((self._ratios() < COPY_THRESHOLD).double().mean())

    @property
    def realism(self) -> float:
        """Mean of the two networks; less is more like the held-out images."""
        return sum(half.realism for half in self.halves.values()) / len(self.halves)

    @property
    def median_agreement(self) -> float:
        """Median of r over seeds."""
        return float(torch.tensor(self.agreement, dtype=torch.float64).quantile(0.5))

    def errors(self, split: Literal["train", "test"]) -> list[float]:
        """Mean squared error of x0_hat at each of TIMES on "train" or "test", the mean of the two networks."""
        each = [half.train_errors if split == "train" else half.test_errors for half in self.halves.values()]
        return [sum(errors) / len(errors) for errors in zip(*each, strict=True)]

    def summary(self) -> dict[str, Any]:
        """The row of a table, JSON-able."""
        return {
            "factor": self.factor,
            "name": self.name,
            "parameters": self.parameters,
            "nearest_ratio": self.nearest_ratio,
            "copies": self.copies,
            "agreement": self.median_agreement,
            "realism": self.realism,
            "train_errors": self.errors("train"),
            "test_errors": self.errors("test"),
            "seconds": self.seconds,
        }

    def _ratios(self) -> Float64[Tensor, " n"]:
        return torch.tensor([half.nearest_ratios for half in self.halves.values()], dtype=torch.float64).flatten()
