"""What denoisers share that are fitted to a pool once, and then know x0_hat at every noise level.

A family is a `Fitted`, what it keeps of one target, and a denoiser that makes one for each class when it is first asked for.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers.base import Denoiser, samples_by_label
from patchmosaic.noise import CosineSchedule, NoiseSchedule

SomeFitted = TypeVar("SomeFitted", bound="Fitted")
SomeDenoiser = TypeVar("SomeDenoiser", bound="FittedDenoiser")
Scale = Float64[Tensor, ""]


@dataclass(frozen=True)
class Fitted(ABC):
    """What is kept of one target: a dataclass of tensors and settings.

    Attributes:
        mean: (D,) of the target, and x0_hat where nothing is seen.
    """

    mean: Float64[Tensor, " D"]

    @abstractmethod
    def denoise(self, vectors: Float64[Tensor, "B D"], alpha: Scale, sigma: Scale) -> Float64[Tensor, "B D"]:
        """x0_hat of noisy vectors, all at one noise level; sigma > 0."""

    def to(self: SomeFitted, device: torch.device | str) -> SomeFitted:
        """A copy on a device."""
        return replace(self, **{name: value.to(device) for name, value in self._tensors().items()})

    def content_hash(self) -> str:
        """Of tensors and settings, as 16 hexadecimal digits."""
        settings = {name: value for name, value in vars(self).items() if not isinstance(value, Tensor)}
        digest = hashlib.sha256(repr((type(self).__name__, settings)).encode())
        for value in self._tensors().values():
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


class FittedDenoiser(Denoiser):
    """Base of the fitted families; with a label, x0_hat of that class.

    Args:
        pool: the images to fit.
        schedule: what t means; the paper's cosine by default.
    """

    pool: ImageSet | None  # None where the target was given in closed form

    def __init__(self, pool: ImageSet, *, schedule: NoiseSchedule | None = None) -> None:
        self.pool = pool
        self.schedule = schedule or CosineSchedule()
        self.image_shape = pool.image_shape
        self.classes = pool.classes
        self._fits: dict[int | None, Fitted] = {}
        self._device = torch.device("cpu")

    @classmethod
    def _of_fitted(
        cls: type[SomeDenoiser], fitted: Fitted, image_shape: tuple[int, int, int], schedule: NoiseSchedule | None
    ) -> SomeDenoiser:
        """A denoiser of a known target, without a pool and without classes."""
        denoiser = cls.__new__(cls)
        denoiser.pool = None
        denoiser.schedule = schedule or CosineSchedule()
        denoiser.image_shape = image_shape
        denoiser._fits = {None: fitted}
        denoiser._device = fitted.mean.device
        return denoiser

    @abstractmethod
    def _fit(self, pool: ImageSet, index: Int64[Tensor, " n"] | None) -> Fitted:
        """What is kept of the images at `index`, on the denoiser's device."""

    def fitted(self, label: int | None = None) -> Fitted:
        """What is kept of a class, or of all images."""
        if label is not None:
            self._check_labels(torch.tensor([label]))
        if label not in self._fits:
            assert self.pool is not None  # without a pool there are no classes, and None is there
            self._fits[label] = self._fit(self.pool, None if label is None else self.pool.of_class(label))
        return self._fits[label]

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        x0_hat = torch.empty_like(x_t)
        for value, samples in samples_by_label(label, len(x_t), x_t.device):
            fitted = self.fitted(value)
            for time in t[samples].unique():
                at_once = samples[t[samples] == time]
                alpha, sigma = self.schedule(time)
                vectors = fitted.denoise(x_t[at_once].double().flatten(1), alpha, sigma)
                x0_hat[at_once] = vectors.view_as(x_t[at_once]).to(x_t)
        return x0_hat

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    def to(self: SomeDenoiser, device: torch.device | str) -> SomeDenoiser:
        """Fit and apply on a device; returns the denoiser itself."""
        self._device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
        self._fits = {label: fitted.to(device) for label, fitted in self._fits.items()}
        return self

    def describe(self) -> dict[str, Any]:
        """Class, target and schedule, as JSON-able data."""
        source = {"target": self.fitted().content_hash()} if self.pool is None else {"pool": self.pool.content_hash}
        return {"denoiser": type(self).__name__, **source, "schedule": self.schedule.to_json()}
