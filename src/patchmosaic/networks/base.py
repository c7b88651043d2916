"""What every trainable network promises: eps_hat = network(x_t, t, label), and a configuration that rebuilds it.

    x_t = alpha_t x0 + sigma_t eps,    the network estimates E[eps | x_t restricted to its receptive field]

Training, checkpoints and calibration use nothing else of an architecture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from patchmosaic.errors import LabelError, ShapeError

Padding = Literal["zeros", "circular"]


class Network(nn.Module, ABC):
    """A network that predicts eps from x_t and t in [0, 1].

    Attributes:
        channels: C of the images it takes and returns.
        num_classes: labels run from 0 to num_classes - 1; None where it is unconditional.
        estimates_x0: its layers estimate x0, so that the eps which that implies needs sigma_t > 0; see x0.py.
    """

    channels: int
    num_classes: int | None
    estimates_x0: bool = False

    @abstractmethod
    def forward(
        self, x_t: Float[Tensor, "B C H W"], t: Float[Tensor, " B"], label: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """eps_hat, shaped like `x_t`. Implementations begin with `check_inputs`."""

    @property
    @abstractmethod
    def receptive_field(self) -> int:
        """Side of the square of input pixels that one output pixel can depend on."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The constructor's keyword arguments, JSON-able: `type(network)(**network.config())` has the same layout."""

    def check_inputs(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> None:
        """Refuse a call that cannot be meant.

        Raises:
            ShapeError: the images have other channels, or `t` is not one time a sample.
            LabelError: a label is missing, not wanted, or of no class.
        """
        if x_t.ndim != 4 or x_t.shape[1] != self.channels:
            raise ShapeError(f"this network takes images (B, {self.channels}, H, W)", got=tuple(x_t.shape))
        if t.shape != x_t.shape[:1]:
            raise ShapeError(f"t must be one time a sample, ({len(x_t)},)", got=tuple(t.shape), hint="Use t.expand(len(x_t)).")
        if self.num_classes is None:
            if label is not None:
                raise LabelError("this network is unconditional", got="labels", hint="Leave the label out.")
            return
        if label is None:
            raise LabelError(
                "this network is class-conditional",
                got="no label",
                hint=f"Give labels from 0 to {self.num_classes - 1}.",
            )
        if label.shape != t.shape or label.dtype != torch.int64:
            raise LabelError("labels must be int64, one a sample", got=f"{label.dtype} {tuple(label.shape)}")
        if bool(((label < 0) | (label >= self.num_classes)).any()):
            raise LabelError(f"labels must lie in 0 to {self.num_classes - 1}", got=f"{int(label.min())} to {int(label.max())}")


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Layers built inside draw their first weights from `seed`; the process's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
