"""A denoiser made from another: same schedule, same images, same classes, same device."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

from patchmosaic.denoisers.base import Denoiser

SomeComposed = TypeVar("SomeComposed", bound="ComposedDenoiser")


class ComposedDenoiser(Denoiser):
    """Base of denoisers that ask another one and do something with what it says.

    Args:
        inner: the other one; it can still be used by itself.
    """

    def __init__(self, inner: Denoiser) -> None:
        self.inner = inner
        self.schedule = inner.schedule
        self.image_shape = inner.image_shape
        self.classes = inner.classes

    @property
    def device(self) -> torch.device:
        """Where the inner denoiser computes."""
        return self.inner.device

    def to(self: SomeComposed, device: torch.device | str) -> SomeComposed:
        """Move the inner denoiser to a device, in place; returns the outer one."""
        self.inner.to(device)
        return self

    def describe(self) -> dict[str, Any]:
        """Class, inner denoiser and schedule, as JSON-able data."""
        return {"denoiser": type(self).__name__, "inner": self.inner.describe(), "schedule": self.schedule.to_json()}
