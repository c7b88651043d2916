"""Reading the folder that diffusers' `save_pretrained` wrote: a UNet, and the scheduler that says what it was trained for.

    unet/config.json, unet/diffusion_pytorch_model.safetensors, scheduler/scheduler_config.json

Weights are read with diffusers' own reader, from this folder only: nothing is downloaded and nothing unpickled. What is not a
model of images, unconditional or conditioned on a class, is refused before its weights are touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from patchmosaic.denoisers.network import NetworkDenoiser
from patchmosaic.errors import CheckpointError
from patchmosaic.files import read_json
from patchmosaic.interop.diffusers_network import check_model, diffusers_denoiser
from patchmosaic.interop.schedulers import SCHEDULER_FILE, diffusers_package, first_timesteps, read_scheduler

if TYPE_CHECKING:
    from diffusers import SchedulerMixin, UNet2DModel

# Parts of pipelines that begin or end elsewhere than in pixels.
FOREIGN_PARTS = ("vae", "vqvae", "movq", "text_encoder")


def load_diffusers(
    folder: str | Path,
    *,
    ema: bool = False,
    variant: str | None = None,
    scheduler: str | Path | None = None,
    timesteps: int | None = None,
    device: torch.device | str = "cpu",
) -> NetworkDenoiser:
    """The network of a diffusers folder, in float32, with the schedule and the prediction of its scheduler.

    Args:
        folder: of a pipeline or a training checkpoint (`unet/`, `scheduler/`), or of the model itself (`config.json`).
        ema: take the averaged weights that training scripts keep in `unet_ema/`.
        variant: which weights, where there are several: "fp16" for `diffusion_pytorch_model.fp16.safetensors`.
        scheduler: the folder of `scheduler_config.json`; by default `scheduler/`, in the folder or beside it.
        timesteps: take only so many of the lowest noise levels: t = 1 is then timestep timesteps - 1. By default all.
        device: where to compute.

    Raises:
        MissingExtraError: diffusers is not installed.
        CheckpointError: a part is missing or damaged, there are only pickled weights, or the model is not one of images alone:
            conditioned on text, in a latent space, with learned variance.

    Warns:
        SchedulerWarning: each of `remarks`; they tell the remedy.
    """
    parts = read_diffusers(Path(folder), ema=ema, variant=variant, scheduler=scheduler, timesteps=timesteps)
    return diffusers_denoiser(*parts).to(device)


def read_diffusers(
    folder: Path,
    *,
    ema: bool = False,
    variant: str | None = None,
    scheduler: str | Path | None = None,
    timesteps: int | None = None,
) -> tuple[UNet2DModel, SchedulerMixin]:
    """The two parts of a diffusers folder, the UNet in float32. Arguments and errors as for `load_diffusers`."""
    model = _model_folder(folder, "unet_ema" if ema else "unet")
    noise = read_scheduler(_scheduler_file(folder, scheduler))
    return _read_unet(model, variant), noise if timesteps is None else first_timesteps(noise, timesteps)


def _model_folder(folder: Path, part: str) -> Path:
    if (folder / "model_index.json").exists():
        foreign = [name for name in FOREIGN_PARTS if name in read_json(folder / "model_index.json")]
        if foreign:
            raise CheckpointError(
                f"a model with a {foreign[0]} does not make images out of noise alone",
                got=folder,
                hint="Machines predict models of images: unconditional, or conditioned on a class.",
            )
    if (folder / part / "config.json").exists():
        return folder / part
    if part == "unet" and (folder / "config.json").exists():
        return folder
    hint = "Give a folder that diffusers' save_pretrained wrote."
    if part == "unet_ema" and (folder / "unet").exists():
        hint = "There is unet/: leave out EMA."
    if part == "unet" and (folder / "unet_ema").exists():
        hint = "There is unet_ema/: ask for EMA."
    raise CheckpointError(f"there is no {part}/config.json", got=folder, hint=hint)


def _scheduler_file(folder: Path, given: str | Path | None) -> Path:
    # A training checkpoint lies one below the folder with its scheduler, and `unet/` beside it.
    places = [folder / "scheduler", folder.parent / "scheduler"] if given is None else [Path(given)]
    for place in places:
        file = place if place.is_file() else place / SCHEDULER_FILE
        if file.exists():
            return file
    raise CheckpointError(
        f"there is no {SCHEDULER_FILE}: nobody knows at which noise levels the network was trained",
        got=", ".join(str(place) for place in places),
        hint="Give the folder that `scheduler.save_pretrained` wrote as scheduler.",
    )


def _read_unet(model: Path, variant: str | None) -> UNet2DModel:
    config: dict[str, Any] = read_json(model / "config.json")
    check_model(config, str(config.get("_class_name")), model)
    names = sorted(path.name for path in model.iterdir())
    if not any(name.endswith(".safetensors") for name in names):
        if any(name.endswith((".bin", ".pt", ".ckpt")) for name in names):
            raise CheckpointError(
                "the weights are pickled, and unpickling runs whatever code a file holds",
                got=model,
                hint="If you trust them, convert them once: UNet2DModel.from_pretrained(folder, use_safetensors=False)"
                ".save_pretrained(folder).",
            )
        raise CheckpointError("there are no weights", got=model, hint="save_pretrained writes a .safetensors file.")
    options = {"variant": variant, "use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": False}
    try:
        unet, found = diffusers_package().UNet2DModel.from_pretrained(model, output_loading_info=True, **options)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise CheckpointError(f"the weights cannot be read ({why})", got=f"{model}: {', '.join(names)}") from error
    # diffusers would go on with random numbers in their place.
    if missing := found["missing_keys"]:
        raise CheckpointError(f"the weights lack {len(missing)} tensors, such as {missing[0]}", got=model)
    whole: UNet2DModel = unet.float()
    return whole
