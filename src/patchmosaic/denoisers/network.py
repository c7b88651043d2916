"""A trained network is a denoiser too: whatever it predicts becomes x0_hat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from patchmosaic.denoisers.base import Denoiser, per_sample, x0_from_eps, x0_from_score, x0_from_v
from patchmosaic.errors import LabelError, NoiseLevelError, PatchMosaicError, ShapeError
from patchmosaic.noise import CosineSchedule, NoiseSchedule

Prediction = Literal["eps", "x0", "v", "score"]
_TO_X0: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "eps": x0_from_eps,
    "v": x0_from_v,
    "score": x0_from_score,
    "x0": lambda x_t, x0, alpha, sigma: x0,
}


class NetworkDenoiser(Denoiser):
    """Any nn.Module called as `module(x_t, t)` or, with labels, `module(x_t, t, label)`.

    Args:
        module: takes x_t (B, C, H, W) float32 and times (B,) float32; put in evaluation mode, never trained here.
        prediction: what its output means: "eps", "x0", "v" or "score".
        schedule: the schedule it was trained with.
        image_shape: (C, H, W); by default the module's own `image_shape`, or that of the first images it gets.
        classes: the labels it was trained with, () for none; by default 0 to num_classes - 1 of the module, if it says.
        timestep: turns t in [0, 1] into the time the module expects, such as `lambda t: 999 * t`.

    Raises:
        PatchMosaicError: an unknown prediction.
        NoiseLevelError: on a call at alpha_t = 0, where neither eps nor score determines x0.
        LabelError: on a call without label, where there are classes.
    """

    def __init__(
        self,
        module: nn.Module,
        prediction: Prediction = "eps",
        *,
        schedule: NoiseSchedule | None = None,
        image_shape: tuple[int, int, int] | None = None,
        classes: Sequence[int] | None = None,
        timestep: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if prediction not in _TO_X0:
            raise PatchMosaicError("prediction must be one of eps, x0, v, score", got=repr(prediction))
        self.module = module.eval()
        self.prediction = prediction
        self.schedule = schedule or CosineSchedule()
        known = getattr(module, "num_classes", None) or 0
        self.classes = tuple(range(known)) if classes is None else tuple(classes)
        self._timestep = timestep
        if (shape := image_shape or getattr(module, "image_shape", None)) is not None:
            self.image_shape = shape

    def _checked(self, x_t: Tensor, t: float | Tensor, label: int | Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        if not hasattr(self, "image_shape") and x_t.ndim == 4:
            self.image_shape = (x_t.shape[1], x_t.shape[2], x_t.shape[3])
        return super()._checked(x_t, t, label)

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        alpha, sigma = (per_sample(scale, x_t) for scale in self.schedule(t))
        if self.prediction in ("eps", "score") and not bool((alpha > 0).all()):
            raise NoiseLevelError(
                f"where alpha_t = 0 a prediction of {self.prediction} does not determine x0",
                got="t = 1",
                hint="Start below t = 1.",
            )
        if self.classes and label is None:
            raise LabelError("this network is class-conditional", got="no label", hint=f"Give one of {list(self.classes)}.")
        parameter = next(self.module.parameters(), torch.empty(0))
        inputs = (x_t.to(parameter.dtype), self._time(t).to(parameter.dtype), *(() if label is None else (label,)))
        with torch.set_grad_enabled(x_t.requires_grad and torch.is_grad_enabled()):  # by x_t; never for the weights' sake
            output = self.module(*inputs)
        if output.shape != x_t.shape:
            raise ShapeError("the network must return images of its input's shape", got=tuple(output.shape))
        return _TO_X0[self.prediction](x_t, output.to(x_t), alpha, sigma).clone()

    def _time(self, t: Tensor) -> Tensor:
        return t if self._timestep is None else self._timestep(t)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.module.parameters(), torch.empty(0)).device

    def to(self, device: torch.device | str) -> NetworkDenoiser:
        """Move the module to a device, in place; returns the denoiser itself."""
        self.module.to(device)
        return self

    def describe(self) -> dict[str, Any]:
        """Class, weights (hashed), prediction and schedule, as JSON-able data; the module's idea of time by three examples."""
        # repr tells what weights do not, such as padding.
        digest = hashlib.sha256(repr(self.module).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return {
            "denoiser": type(self).__name__,
            "module": type(self.module).__name__,
            "weights": digest.hexdigest()[:16],
            "prediction": self.prediction,
            "classes": list(self.classes),
            "timestep": self._time(torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)).tolist(),
            "schedule": self.schedule.to_json(),
        }
