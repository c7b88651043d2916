"""Ours in theirs: a machine as the `unet` of a diffusers pipeline.

    unet(sample, timestep):   x_t = ‖(alpha_t, sigma_t)‖ sample,  t = (timestep + 1) / T,   x0_hat = machine(x_t, t)

The sample is variance-preserving in all of diffusers' schedulers with betas, so that the machine's own schedule, whatever it
is, counts by its noise levels alone. The training images are the weights: they travel in the safetensors file, as bytes where
they are bytes. This module imports diffusers, and is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import MACHINES, Denoiser
from patchmosaic.denoisers.base import eps_from_x0, per_sample, v_from_x0
from patchmosaic.errors import CheckpointError, MissingExtraError, PatchMosaicError
from patchmosaic.interop.schedulers import PREDICTIONS, PredictionType, ddim_scheduler
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import NoiseSchedule, schedule_from_json

try:
    from diffusers import ConfigMixin, DDIMScheduler, ModelMixin
    from diffusers.configuration_utils import register_to_config
    from diffusers.models.unets.unet_2d import UNet2DOutput
except ImportError as error:
    raise MissingExtraError("this needs diffusers", hint="pip install 'patchmosaic[diffusers]'") from error

_FROM_X0: Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": eps_from_x0,
    "v_prediction": v_from_x0,
    "sample": lambda sample, x0, alpha, sigma: x0,
}


class DenoiserModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A machine with the interface of diffusers' UNet2DModel; `from_denoiser` makes one.

    The arguments are the configuration of `config.json`; `from_pretrained` calls with them and then fills in the images.

    Args:
        machine: its name in the papers, one of `patchmosaic.denoisers.MACHINES`.
        sample_size: (H, W).
        in_channels: C.
        pool_size: how many training images.
        pool_dtype: "uint8" or "float32".
        labelled: whether the images have classes.
        content_hash: of the training images.
        schedule: what the machine's t means, as `NoiseSchedule.to_json` tells it.
        settings: the machine's other arguments, such as its patch size.
        prediction_type: what `forward` returns: "epsilon", "sample" (x0_hat) or "v_prediction".
        num_train_timesteps: T.

    Raises:
        PatchMosaicError: no such machine or prediction.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        machine: str,
        sample_size: Sequence[int],
        in_channels: int,
        pool_size: int,
        pool_dtype: str,
        labelled: bool,
        content_hash: str,
        schedule: dict[str, Any],
        settings: dict[str, Any],
        prediction_type: str = "epsilon",
        num_train_timesteps: int = 1000,
    ) -> None:
        super().__init__()
        if machine not in MACHINES:
            raise PatchMosaicError("no such machine", got=repr(machine), hint=f"Known: {', '.join(MACHINES)}.")
        if prediction_type not in PREDICTIONS:
            raise PatchMosaicError(f"prediction_type must be one of {', '.join(PREDICTIONS)}", got=repr(prediction_type))
        self.register_buffer("images", torch.empty(pool_size, in_channels, *sample_size, dtype=getattr(torch, pool_dtype)))
        self.register_buffer("labels", torch.empty(pool_size if labelled else 0, dtype=torch.int64))
        self._denoiser: Denoiser | None = None
        self._like = torch.empty(0)  # goes wherever the module is moved

    @classmethod
    def from_denoiser(
        cls, machine: Denoiser, *, prediction_type: PredictionType = "epsilon", num_train_timesteps: int = 1000
    ) -> DenoiserModel:
        """The machine itself as a model: without a copy of its images, and moved where the model is moved.

        Args:
            machine: one of `MACHINES`, fitted to a pool.
            prediction_type: the scheduler's prediction type must be the same.
            num_train_timesteps: how many timesteps the machine's t in [0, 1] is cut into.

        Raises:
            PatchMosaicError: another kind of denoiser, or one without a pool.
        """
        name = next((name for name, kind in MACHINES.items() if type(machine) is kind), None)
        pool = getattr(machine, "pool", None)
        if name is None or not isinstance(pool, ImageSet):
            raise PatchMosaicError(
                "only a machine over a pool of images can be given to diffusers",
                got=type(machine).__name__,
                hint=f"One of {', '.join(MACHINES)}.",
            )
        # What a machine says of itself is all that its images are given besides.
        settings = {key: value for key, value in machine.describe().items() if key not in ("denoiser", "pool", "schedule")}
        channels, height, width = pool.image_shape
        model: DenoiserModel = cls(
            machine=name,
            sample_size=(height, width),
            in_channels=channels,
            pool_size=len(pool),
            pool_dtype=str(pool.stored.dtype).removeprefix("torch."),
            labelled=pool.labels is not None,
            content_hash=pool.content_hash,
            schedule=machine.schedule.to_json(),
            settings=settings,
            prediction_type=prediction_type,
            num_train_timesteps=num_train_timesteps,
        )
        model.images = pool.stored
        if pool.labels is not None:
            model.labels = pool.labels
        model._denoiser, model._like = machine, model._like.to(machine.device)
        return model

    @property
    def schedule(self) -> NoiseSchedule:
        """What the machine's t means."""
        return schedule_from_json(dict(self.config.schedule))

    @property
    def denoiser(self) -> Denoiser:
        """The machine; after `from_pretrained` it is built when it is first asked for.

        Raises:
            CheckpointError: the images are not those of the configuration.
        """
        if self._denoiser is None:
            pool = ImageSet(self.images, self.labels if self.config.labelled else None)
            if pool.content_hash != self.config.content_hash:
                raise CheckpointError(
                    "the weights are not the training images that config.json describes",
                    got=f"content hash {pool.content_hash}",
                    hint="Load the model with from_pretrained, from the folder that save_pretrained wrote.",
                )
            settings = dict(self.config.settings)
            if isinstance(settings.get("patch_size"), dict):
                settings["patch_size"] = LocalityScale.from_json(settings["patch_size"])
            kind: Any = MACHINES[self.config.machine]
            self._denoiser = kind(pool, schedule=self.schedule, **settings).to(self._like.device)
        assert self._denoiser is not None
        return self._denoiser

    def ddim_scheduler(self) -> DDIMScheduler:
        """The scheduler with which `DDIMPipeline` draws what `patchmosaic.sample` draws. Errors as `ddim_scheduler`."""
        return ddim_scheduler(self.schedule, self.config.prediction_type, self.config.num_train_timesteps)

    @torch.no_grad()
    def forward(
        self,
        sample: Float[Tensor, "B C H W"],
        timestep: Tensor | float | int,
        class_labels: Int64[Tensor, " B"] | None = None,
        return_dict: bool = True,
    ) -> UNet2DOutput | tuple[Tensor]:
        """What a UNet would predict at this timestep.

        Args:
            sample: noisy images, variance preserved.
            timestep: one for all or (B,), from 0 to T - 1; fractions are fine.
            class_labels: the class of each image, or None for a posterior over all images.
            return_dict: a UNet2DOutput, or a tuple.

        Raises:
            PatchMosaicError: as for the machine.
        """
        asked = torch.as_tensor(timestep).double().cpu().reshape(-1).expand(len(sample))
        t = (asked + 1) / self.config.num_train_timesteps
        alpha, sigma = self.schedule(t)
        scale = torch.hypot(alpha, sigma)
        # Whatever type a pipeline draws its noise in, machines compute in float32 or better.
        seen = sample if sample.dtype == torch.float64 else sample.float()
        x0_hat = self.denoiser(seen * per_sample(scale, seen), t, class_labels)
        alpha, sigma = per_sample(alpha / scale, seen), per_sample(sigma / scale, seen)
        output = _FROM_X0[self.config.prediction_type](seen, x0_hat, alpha, sigma).to(sample.dtype)
        return UNet2DOutput(sample=output) if return_dict else (output,)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._like.device

    @property
    def dtype(self) -> torch.dtype:
        """What pipelines draw their noise in."""
        return self._like.dtype

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DenoiserModel:
        """The training images stay what and where they are: the machine has its own copy on another device."""
        self._like = fn(self._like)
        if self._denoiser is not None:
            self._denoiser.to(self._like.device)
        return self
