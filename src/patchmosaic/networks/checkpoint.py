"""A trained network on disk: `weights.safetensors`, and `network.json`, which says how to use them.

The record names the architecture and its configuration, what the output means, the noise schedule, the images it was
trained on (by content hash) and the SHA-256 of the weights file. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.files import read_json, replacing, write_json
from patchmosaic.networks.base import Network
from patchmosaic.networks.mlp import MLP
from patchmosaic.networks.resnet import ResNet
from patchmosaic.networks.settings import TrainingSettings
from patchmosaic.networks.unet import UNet
from patchmosaic.noise import NoiseSchedule, schedule_from_json

# A new architecture is a line here: its configuration is stored under the class's name.
ARCHITECTURES: dict[str, type[Network]] = {kind.__name__: kind for kind in (ResNet, UNet, MLP)}

WEIGHTS_FILE = "weights.safetensors"
RECORD_FILE = "network.json"
FORMAT_VERSION = 1
_HINT = "Save or train the network again."


@dataclass(frozen=True)
class NetworkRecord:
    """What `network.json` says.

    Attributes:
        architecture: name of the class, with `config` its keyword arguments.
        prediction: what the output means.
        schedule: what t means.
        image_shape: (C, H, W) of the training images.
        num_classes: labels run from 0 to num_classes - 1; None where unconditional.
        data: name, count and content_hash of the training images.
        training: the settings, or None where they are not known.
        versions: of patchmosaic, torch and python when it was saved.
        weights_sha256: of the weights file.
        averaged: the weights are an average over the training, not those of its last step.
    """

    architecture: str
    config: dict[str, Any]
    prediction: Literal["eps"]
    schedule: NoiseSchedule
    image_shape: tuple[int, int, int]
    num_classes: int | None
    data: dict[str, Any]
    training: dict[str, Any] | None
    versions: dict[str, str]
    weights_sha256: str
    averaged: bool = False


def save_network(
    folder: Path,
    module: Network,
    schedule: NoiseSchedule,
    pool: ImageSet,
    *,
    settings: TrainingSettings | None = None,
    averaged: bool = False,
) -> NetworkRecord:
    """Write `module` to `folder` and return its record; `pool` is what it was trained on, and whether its weights are averages.

    Raises:
        CheckpointError: an architecture that `load_network` could not rebuild, or weights that are not finite.
    """
    architecture = type(module).__name__
    if ARCHITECTURES.get(architecture) is not type(module):
        raise CheckpointError(
            "only known architectures can be saved", got=architecture, hint=f"Known: {', '.join(ARCHITECTURES)}."
        )
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise CheckpointError("the network's weights must be finite", got="NaN or infinity", hint="Lower the learning rate.")
    content = safetensors.torch.save(weights)
    record = NetworkRecord(
        architecture=architecture,
        config=module.config(),
        prediction="eps",
        schedule=schedule,
        image_shape=pool.image_shape,
        num_classes=module.num_classes,
        data={"name": pool.name, "images": len(pool), "content_hash": pool.content_hash},
        training=None if settings is None else settings.to_json(),
        versions={"patchmosaic": _version(), "torch": str(torch.__version__), "python": platform.python_version()},
        weights_sha256=hashlib.sha256(content).hexdigest(),
        averaged=averaged,
    )
    with replacing(folder / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(content)
    fields = {**vars(record), "schedule": schedule.to_json(), "image_shape": list(record.image_shape)}
    write_json(folder / RECORD_FILE, {"format_version": FORMAT_VERSION, **fields})
    return record


def load_network(folder: Path, device: torch.device | str = "cpu") -> tuple[Network, NetworkRecord]:
    """The network that `save_network` wrote to `folder`, in evaluation mode, and its record.

    Raises:
        CheckpointError: a file is missing or damaged, the two do not belong together, or this version knows no such
            network.
    """
    record = read_record(folder)
    module = _rebuilt(record, folder / RECORD_FILE)
    weights_path = folder / WEIGHTS_FILE
    try:
        content = weights_path.read_bytes()
    except OSError as error:
        raise CheckpointError("the weights cannot be read", got=weights_path, hint=_HINT) from error
    if hashlib.sha256(content).hexdigest() != record.weights_sha256:
        raise CheckpointError(f"the weights are not those that {RECORD_FILE} describes", got=weights_path, hint=_HINT)
    try:
        module.load_state_dict(safetensors.torch.load(content))
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"the weights do not fit the {record.architecture} of {RECORD_FILE} ({error})", got=weights_path, hint=_HINT
        ) from error
    return module.to(device).eval(), record


def read_record(folder: Path) -> NetworkRecord:
    """What `folder` says of its network, without the weights.

    Raises:
        CheckpointError: there is no record, or it is damaged.
    """
    path = folder / RECORD_FILE
    return _parsed(read_json(path, hint="save_network writes it; is this the right folder?"), path)


def _parsed(fields: Any, path: Path) -> NetworkRecord:
    try:
        version = fields["format_version"]
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"network.json has format version {version}, this PatchMosaic reads {FORMAT_VERSION}",
                got=path,
                hint="Update PatchMosaic, or save the network again with this version.",
            )
        if fields["prediction"] != "eps":
            raise CheckpointError("networks of this version predict eps", got=f"{fields['prediction']!r} in {path}")
        fields = {"averaged": False, **fields}  # networks of the first versions do not say it
        named = {name: fields[name] for name in NetworkRecord.__dataclass_fields__}
        channels, height, width = (int(size) for size in named["image_shape"])
        schedule = schedule_from_json(named["schedule"])
        return NetworkRecord(**{**named, "schedule": schedule, "image_shape": (channels, height, width)})
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, PatchMosaicError) as error:
        raise CheckpointError(f"not the record of a network ({error!r})", got=path, hint=_HINT) from error


def _rebuilt(record: NetworkRecord, path: Path) -> Network:
    if record.architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"unknown architecture {record.architecture!r}",
            got=path,
            hint=f"This version knows {', '.join(ARCHITECTURES)}.",
        )
    try:
        return ARCHITECTURES[record.architecture](**record.config)
    except (TypeError, PatchMosaicError) as error:
        raise CheckpointError(
            f"the configuration does not describe a {record.architecture} ({error})", got=path, hint=_HINT
        ) from error


def _version() -> str:
    try:
        return metadata.version("patchmosaic")
    except metadata.PackageNotFoundError:
        return "not installed"
