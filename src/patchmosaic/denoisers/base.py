"""The denoiser contract, and every conversion between what a denoiser can be said to predict.

    x_t = alpha_t x0 + sigma_t eps                      x0_hat = E[x0 | what the denoiser may see of x_t]
    eps   = (x_t - alpha_t x0) / sigma_t                score = (alpha_t x0 - x_t) / sigma_t² = -eps / sigma_t
    v     = alpha_t eps - sigma_t x0                    x0    = (alpha_t x_t - sigma_t v) / (alpha_t² + sigma_t²)

A denoiser implements one method, `_denoise`, in terms of (alpha_t, sigma_t); times, labels, shapes and conversions are
settled here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.errors import LabelError, NoiseLevelError, ShapeError, ValueRangeError
from patchmosaic.noise import NoiseSchedule, as_times

# Not typing.Self: the run-time shape checks of the tests decorate methods one by one, where Self has no meaning.
SomeDenoiser = TypeVar("SomeDenoiser", bound="Denoiser")


class Denoiser(ABC):
    """x_t -> x0_hat at any time of a noise schedule.

    Attributes:
        schedule: what t means.
        image_shape: (C, H, W).
        classes: the labels it can be conditioned on; empty where it is unconditional.
    """

    schedule: NoiseSchedule
    image_shape: tuple[int, int, int]
    classes: tuple[int, ...] = ()

    @abstractmethod
    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        """x0_hat (B, C, H, W) in the dtype of x_t; `t` (B,) float64 with sigma_t > 0, `label` (B,) int64 or None."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it computes, and where x_t must be."""

    @abstractmethod
    def to(self: SomeDenoiser, device: torch.device | str) -> SomeDenoiser:
        """Move to a device, in place; returns the denoiser itself."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What it computes, as JSON-able data: equal descriptions, equal outputs."""

    def __call__(
        self, x_t: Float[Tensor, "B C H W"], t: float | Tensor, label: int | Tensor | None = None
    ) -> Float[Tensor, "B C H W"]:
        """x0_hat, in the dtype of `x_t`: pass float64 images for a float64 result.

        Args:
            x_t: noisy images at time t.
            t: one time for all images, or (B,); in (0, 1].
            label: class of each image (B,), one for all, or None for no conditioning.

        Raises:
            ShapeError: `x_t` does not have the denoiser's image shape, or `t` or `label` is not one a sample.
            NoiseLevelError: t outside [0, 1], or sigma_t = 0.
            LabelError: a label that the denoiser does not know.
            ValueRangeError: `x_t` is not finite, or not float32 or float64.
        """
        return self._denoise(*self._checked(x_t, t, label))

    def eps(
        self, x_t: Float[Tensor, "B C H W"], t: float | Tensor, label: int | Tensor | None = None
    ) -> Float[Tensor, "B C H W"]:
        """The noise that x0_hat implies: (x_t - alpha_t x0_hat) / sigma_t. Arguments and errors as for the call."""
        alpha, sigma = self._scales_like(x_t, t)
        return eps_from_x0(x_t, self(x_t, t, label), alpha, sigma)

    def score(
        self, x_t: Float[Tensor, "B C H W"], t: float | Tensor, label: int | Tensor | None = None
    ) -> Float[Tensor, "B C H W"]:
        """grad log p_t as the denoiser sees it: (alpha_t x0_hat - x_t) / sigma_t². Arguments and errors as for the call."""
        alpha, sigma = self._scales_like(x_t, t)
        return score_from_x0(x_t, self(x_t, t, label), alpha, sigma)

    def v(
        self, x_t: Float[Tensor, "B C H W"], t: float | Tensor, label: int | Tensor | None = None
    ) -> Float[Tensor, "B C H W"]:
        """The velocity alpha_t eps - sigma_t x0_hat (Salimans & Ho 2022). Arguments and errors as for the call."""
        alpha, sigma = self._scales_like(x_t, t)
        return v_from_x0(x_t, self(x_t, t, label), alpha, sigma)

    def _checked(self, x_t: Tensor, t: float | Tensor, label: int | Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        if x_t.ndim != 4 or tuple(x_t.shape[1:]) != self.image_shape:
            expected = "x".join(str(size) for size in self.image_shape)
            raise ShapeError(f"x_t must be (B, C, H, W) of {expected} images", got=tuple(x_t.shape))
        if len(x_t) == 0:
            raise ShapeError("there must be at least one image", got=tuple(x_t.shape))
        if x_t.dtype not in (torch.float32, torch.float64):
            raise ValueRangeError("x_t must be float32 or float64", got=x_t.dtype, hint="Try x_t.float().")
        if x_t.device != self.device:
            raise ShapeError(f"x_t must be on {self.device}", got=x_t.device, hint=f"Try x_t.to({str(self.device)!r}).")
        if not bool(torch.isfinite(x_t).all()):
            raise ValueRangeError("x_t must be finite", got="NaN or infinity")
        times = _one_a_sample(as_times(t), len(x_t), "t").to(x_t.device)
        _, sigma = self.schedule(times)
        if not bool((sigma > 0).all()):
            raise NoiseLevelError("sigma_t must be positive", got=f"t = {t}", hint="At t = 0 x_t is the clean image itself.")
        labels = None if label is None else _one_a_sample(torch.as_tensor(label), len(x_t), "label").long().to(x_t.device)
        if labels is not None:
            self._check_labels(labels)
        return x_t, times, labels

    def _check_labels(self, labels: Tensor) -> None:
        if not self.classes:
            raise LabelError("this denoiser has no classes", got="a label", hint="Call it without, or give its pool labels.")
        unknown = sorted(set(labels.tolist()) - set(self.classes))
        if unknown:
            raise LabelError("no images of this class", got=unknown, hint=f"Known classes: {list(self.classes)}.")

    def _scales_like(self, x_t: Tensor, t: float | Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.schedule(_one_a_sample(as_times(t), len(x_t), "t"))
        return per_sample(alpha, x_t), per_sample(sigma, x_t)


def _one_a_sample(tensor: Tensor, batch: int, name: str) -> Tensor:
    if tensor.ndim == 0:
        return tensor.expand(batch)
    if tensor.shape != (batch,):
        raise ShapeError(f"{name} must be one number or one a sample, ({batch},)", got=tuple(tensor.shape))
    return tensor


def per_sample(scale: Float64[Tensor, " b"], images: Float[Tensor, "B C H W"]) -> Float[Tensor, "b 1 1 1"]:
    """A scale a sample, or one for all, shaped, typed and placed to multiply images."""
    return scale.to(images)[:, None, None, None]


def eps_from_x0(x_t: Tensor, x0: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """(x_t - alpha x0) / sigma."""
    return (x_t - alpha * x0) / sigma


def score_from_x0(x_t: Tensor, x0: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """(alpha x0 - x_t) / sigma²: Tweedie's formula."""
    return (alpha * x0 - x_t) / sigma**2


def v_from_x0(x_t: Tensor, x0: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """alpha eps - sigma x0."""
    return alpha * eps_from_x0(x_t, x0, alpha, sigma) - sigma * x0


def x0_from_eps(x_t: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """(x_t - sigma eps) / alpha; needs alpha > 0."""
    return (x_t - sigma * eps) / alpha


def x0_from_score(x_t: Tensor, score: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """(x_t + sigma² score) / alpha; needs alpha > 0."""
    return (x_t + sigma**2 * score) / alpha


def x0_from_v(x_t: Tensor, v: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """(alpha x_t - sigma v) / (alpha² + sigma²)."""
    return (alpha * x_t - sigma * v) / (alpha**2 + sigma**2)


def samples_by_label(label: Tensor | None, count: int, device: torch.device) -> list[tuple[int | None, Int64[Tensor, " b"]]]:
    """The distinct labels of a batch of `count`, each with the samples that have it."""
    if label is None:
        return [(None, torch.arange(count, device=device))]
    return [(int(value), (label == value).nonzero()[:, 0]) for value in label.unique()]
