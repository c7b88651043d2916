"""diffusers' schedulers and our schedules: the same noise levels under two clocks.

    timestep i = 0, ..., T - 1   <->   t = (i + 1) / T,        alpha_bar_i = alpha_t²,  1 - alpha_bar_i = sigma_t²

t = 1 is the last timestep, and t = 0, clean data, lies one before the first. `timestep_spacing="trailing"` visits our uniform
times. A diffusers scheduler is three things at once: the noise levels that a network was trained at, the meaning of what it
predicts, and a sampler. The first two are taken over here; of the third, `remarks` tells where it differs from `sample`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from patchmosaic.denoisers.network import Prediction
from patchmosaic.errors import CheckpointError, MissingExtraError, NoiseLevelError, PatchMosaicError
from patchmosaic.files import read_json
from patchmosaic.noise import EDMSchedule, NoiseSchedule, TabulatedSchedule

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, SchedulerMixin

PredictionType = Literal["epsilon", "sample", "v_prediction"]
PREDICTIONS: Mapping[str, Prediction] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
SCHEDULER_FILE = "scheduler_config.json"

# All of these train and sample one kind of network: x = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps at timestep i. Those that
# walk in x / alpha (Euler, Heun, LMS, KDPM2) scale it back before the network sees it.
WITH_BETAS = (
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
)
OF_EDM = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")


def diffusers_package() -> Any:
    """The package diffusers.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtraError("this needs diffusers", hint="pip install 'patchmosaic[diffusers]'") from error
    return diffusers


def read_scheduler(file: Path) -> SchedulerMixin:
    """The scheduler of a `scheduler_config.json`.

    Raises:
        CheckpointError: the file is damaged, or the scheduler of a kind whose noise levels are not known here.
    """
    config = read_json(file)
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name not in (*WITH_BETAS, *OF_EDM):
        raise _unknown_scheduler(name, file)
    scheduler: SchedulerMixin = getattr(diffusers_package(), name).from_config(config)
    return scheduler


def schedule_of(scheduler: SchedulerMixin) -> NoiseSchedule:
    """The noise levels that a scheduler's network was trained at.

    Betas become a table that is met exactly at every timestep and is continuous between; EDM's clock is Karras's, whatever
    `sigma_schedule` says: for a network of EDM only sigma counts.

    Raises:
        CheckpointError: a scheduler of a kind whose noise levels are not known here.
    """
    config, name = scheduler.config, type(scheduler).__name__
    if name in OF_EDM:
        return EDMSchedule(float(config.sigma_min), float(config.sigma_max), float(config.rho))
    # Flow matching, and noise levels given to the network as log sigma, go under the names of some of these schedulers too.
    flow = config.get("use_flow_sigmas", False) or config.get("timestep_type", "discrete") != "discrete"
    if name not in WITH_BETAS or flow or config.prediction_type not in PREDICTIONS:
        telling = ("prediction_type", "timestep_type", "use_flow_sigmas")
        raise _unknown_scheduler(name, ", ".join(f"{key}={config[key]!r}" for key in telling if key in config))
    # From the betas and not from alphas_cumprod, the end of which some schedulers lift above 0 so as not to divide by it; in
    # float32, as the network was trained with.
    alpha_bar = torch.cumprod(1.0 - scheduler.betas, dim=0)
    return TabulatedSchedule(tuple(alpha_bar.tolist()))


def _unknown_scheduler(name: object, got: object) -> CheckpointError:
    return CheckpointError(
        f"no schedule is known for {name}",
        got=got,
        hint="Known: schedulers with betas (DDPM, DDIM, PNDM, Euler, Heun, DPM, ...) and EDM, for epsilon, sample and"
        " v_prediction. For any other, give the UNet and its schedule to NetworkDenoiser.",
    )


def first_timesteps(scheduler: SchedulerMixin, count: int) -> SchedulerMixin:
    """The same scheduler with its lowest `count` noise levels only: t = 1 is then timestep count - 1.

    Raises:
        PatchMosaicError: it has fewer timesteps, or it is of EDM, whose noise levels are not counted.
    """
    total = int(scheduler.config.num_train_timesteps)
    if type(scheduler).__name__ in OF_EDM or not 0 < count <= total:
        raise PatchMosaicError(f"timesteps must be 1 to {total}, of a scheduler with betas", got=count)
    changes = {"num_train_timesteps": count, "trained_betas": scheduler.betas[:count].tolist(), "rescale_betas_zero_snr": False}
    known = {name: value for name, value in changes.items() if name in scheduler.config}
    fewer: SchedulerMixin = type(scheduler).from_config(scheduler.config, **known)
    return fewer


def ddim_scheduler(
    schedule: NoiseSchedule, prediction_type: PredictionType = "epsilon", num_train_timesteps: int = 1000
) -> DDIMScheduler:
    """The DDIM scheduler that samples as `patchmosaic.sample` does: these noise levels, "trailing", never clipped.

    With a number of steps that divides `num_train_timesteps` it takes our uniform times. A schedule whose variance is not
    preserved is taken by its noise levels, alpha_bar = alpha_t² / (alpha_t² + sigma_t²).

    Raises:
        MissingExtraError: diffusers is not installed.
        PatchMosaicError: an unknown prediction type.
        NoiseLevelError: "epsilon", where the schedule ends in pure noise: it does not determine x0 there.
    """
    if prediction_type not in PREDICTIONS:
        raise PatchMosaicError("prediction_type must be epsilon, sample or v_prediction", got=repr(prediction_type))
    level = schedule.noise_level(torch.arange(1, num_train_timesteps + 1, dtype=torch.float64) / num_train_timesteps)
    alpha_bar = 1 / (1 + level**2)
    if prediction_type == "epsilon" and not bool(alpha_bar[-1] > 0):
        raise NoiseLevelError(
            "where alpha_t = 0 a prediction of epsilon does not determine x0",
            got=f"{type(schedule).__name__} at t = 1",
            hint='Try prediction_type="sample".',
        )
    scheduler: DDIMScheduler = diffusers_package().DDIMScheduler(
        num_train_timesteps=num_train_timesteps,
        trained_betas=_float32_betas(alpha_bar),
        prediction_type=prediction_type,
        clip_sample=False,
        timestep_spacing="trailing",
    )
    return scheduler


def _float32_betas(alpha_bar: Float64[Tensor, " T"]) -> list[float]:
    """Betas whose products, once the betas are rounded to float32, are still alpha_bar.

    Each makes up for what was lost in rounding those before: a thousand roundings of 1 - beta would else add up to 1e-6, which
    is much of sigma² = 1 - alpha_bar at low noise.
    """
    betas, product = [], 1.0
    for target in alpha_bar.tolist():
        beta = np.float32(1 - target / product)
        product *= float(np.float32(1) - beta)
        betas.append(float(beta))
    return betas
