"""Other libraries' models here, and ours there. Today: diffusers (`pip install 'patchmosaic[diffusers]'`).

    network = load_diffusers("their-model")            a folder of theirs, as the network that machines predict
    model = DenoiserModel.from_denoiser(machine)       a machine of ours, as the `unet` of their pipelines

diffusers takes seconds to import: it is imported when one of these is used.
"""

from typing import TYPE_CHECKING, Any

from patchmosaic.interop.diffusers_folder import load_diffusers, read_diffusers
from patchmosaic.interop.diffusers_network import diffusers_denoiser
from patchmosaic.interop.remarks import SchedulerWarning, remarks
from patchmosaic.interop.schedulers import ddim_scheduler, first_timesteps

if TYPE_CHECKING:
    from patchmosaic.interop.diffusers_model import DenoiserModel

__all__ = [
    "DenoiserModel",
    "SchedulerWarning",
    "ddim_scheduler",
    "diffusers_denoiser",
    "first_timesteps",
    "load_diffusers",
    "read_diffusers",
    "remarks",
]


def __getattr__(name: str) -> Any:
    if name == "DenoiserModel":
        from patchmosaic.interop.diffusers_model import DenoiserModel

        return DenoiserModel
    raise AttributeError(f"module 'patchmosaic.interop' has no attribute {name!r}")
