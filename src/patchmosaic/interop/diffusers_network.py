"""Theirs in ours: a UNet of diffusers, as the network that the machines predict.

x0_hat = (x_t - sigma_t unet(x_t, T t - 1)) / alpha_t                    epsilon; likewise sample and v_prediction
x0_hat = c_skip x_t + c_out unet(c_in x_t, ln(sigma_t) / 4)              EDM (Karras et al. 2022, eq. 7 and table 1)
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from patchmosaic.denoisers.network import NetworkDenoiser
from patchmosaic.errors import CheckpointError
from patchmosaic.interop.remarks import SchedulerWarning, remarks
from patchmosaic.interop.schedulers import OF_EDM, PREDICTIONS, schedule_of

if TYPE_CHECKING:
    from diffusers import SchedulerMixin, UNet2DModel


class DiffusersUNet(nn.Module):
    """A UNet2DModel called as networks are here: `module(x_t, timestep, label)`, and images come back."""

    def __init__(self, unet: UNet2DModel) -> None:
        super().__init__()
        self.unet = unet
        self.num_classes: int | None = unet.config.num_class_embeds
        self._whole_timesteps = unet.config.time_embedding_type == "learned"

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W), where the configuration tells."""
        size = self.unet.config.sample_size
        if size is None:
            return None
        height, width = (size, size) if isinstance(size, int) else size
        return int(self.unet.config.in_channels), int(height), int(width)

    def forward(
        self, x_t: Float[Tensor, "B C H W"], timestep: Float[Tensor, " B"], label: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """What the UNet predicts. Timesteps between whole ones are fine, but for a table of learned embeddings."""
        known = timestep.round().long() if self._whole_timesteps else timestep
        output: Tensor = self.unet(x_t, known, class_labels=label, return_dict=False)[0]
        return output


class Preconditioned(nn.Module):
    """x0_hat of an EDM network from x_t = x0 + sigma eps; the time that it takes is sigma itself."""

    def __init__(self, network: DiffusersUNet, sigma_data: float, sign: float) -> None:
        super().__init__()
        self.network, self.sigma_data, self.sign = network, sigma_data, sign
        self.num_classes, self.image_shape = network.num_classes, network.image_shape

    def extra_repr(self) -> str:
        """What the weights do not tell."""
        return f"sigma_data={self.sigma_data}, sign={self.sign}"

    def forward(
        self, x_t: Float[Tensor, "B C H W"], sigma: Float[Tensor, " B"], label: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """c_skip x_t + c_out F(c_in x_t, c_noise)."""
        total = (sigma**2 + self.sigma_data**2)[:, None, None, None]
        c_skip, c_in = self.sigma_data**2 / total, total.rsqrt()
        c_out = self.sign * sigma[:, None, None, None] * self.sigma_data * total.rsqrt()
        output: Tensor = self.network(c_in * x_t, sigma.log() / 4, label)
        return c_skip * x_t + c_out * output


def diffusers_denoiser(unet: UNet2DModel, scheduler: SchedulerMixin) -> NetworkDenoiser:
    """A UNet in memory as a denoiser, with the schedule and the prediction of its scheduler.

    Raises:
        CheckpointError: a model that is not of images alone, or a scheduler whose noise levels are not known here.

    Warns:
        SchedulerWarning: each of `remarks`.
    """
    name, config = type(scheduler).__name__, scheduler.config
    check_model(unet.config, type(unet).__name__, type(unet).__name__)
    module, schedule = DiffusersUNet(unet), schedule_of(scheduler)
    for remark in remarks(scheduler):
        warnings.warn(remark, SchedulerWarning, stacklevel=2)
    if name in OF_EDM:
        sign = -1.0 if config.prediction_type == "v_prediction" else 1.0
        denoise = Preconditioned(module, float(config.sigma_data), sign)
        return NetworkDenoiser(denoise, "x0", schedule=schedule, timestep=lambda t: schedule.noise_level(t))
    count = int(config.num_train_timesteps)
    # Below the lowest noise level of its training the network is asked as at that one.
    return NetworkDenoiser(
        module,
        PREDICTIONS[config.prediction_type],
        schedule=schedule,
        timestep=lambda t: (count * t - 1).clamp_min(0),
    )


def check_model(config: Any, name: str, got: object) -> None:
    """That a class of this name and configuration makes images out of noise, and classes, alone.

    Raises:
        CheckpointError: it is not so.
    """
    hint = "Wrap it in a module of your own and give that to NetworkDenoiser."
    if name == "UNet2DConditionModel":
        raise CheckpointError("text-conditioned models cannot be predicted from images alone", got=got)
    if name != "UNet2DModel":
        raise CheckpointError("only UNet2DModel is known", got=f"{name} in {got}", hint=hint)
    taken, returned = config.get("in_channels", 3), config.get("out_channels", 3)
    if taken != returned:
        raise CheckpointError(
            "a network must return as many channels as it takes: no learned variance, no inputs besides x_t",
            got=f"in_channels {taken}, out_channels {returned}",
            hint=hint,
        )
    if config.get("class_embed_type") is not None:
        raise CheckpointError(
            "classes must be numbers with a learned embedding (num_class_embeds)",
            got=f"class_embed_type {config['class_embed_type']!r}",
            hint=hint,
        )
