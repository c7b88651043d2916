"""A training run that can be killed at any moment: everything it needs to go on is in one file.

`training.safetensors` holds the weights, their average if one is kept, Adam's two moments and the loss of every step so far,
whose number is the step reached; its header says, as JSON, what is being trained on what, and has a hash of the tensors. Since
the file is replaced whole, weights and step cannot come from different moments. Random state is not kept: batches are functions
of (seed, step).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from patchmosaic.errors import CheckpointError
from patchmosaic.files import replacing

FILE_NAME = "training.safetensors"
FORMAT_VERSION = 1
_RESTART = "Delete the file to train again from the start, or use another folder."


def save_state(
    folder: Path,
    module: nn.Module,
    average: nn.Module | None,
    optimizer: torch.optim.Adam,
    losses: Tensor,
    identity: dict[str, Any],
) -> None:
    """Write the state after `len(losses)` steps, whole or not at all."""
    tensors = _weights(module, average)
    for name, parameter in module.named_parameters():
        moments = optimizer.state[parameter]
        tensors[f"first_moment/{name}"], tensors[f"second_moment/{name}"] = moments["exp_avg"], moments["exp_avg_sq"]
    tensors["losses"] = losses
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {
        "format_version": FORMAT_VERSION,
        "identity": identity,
        "sha256": _digest(tensors),
    }
    with replacing(folder / FILE_NAME) as temporary:
        save_file(tensors, temporary, metadata={"patchmosaic": json.dumps(header, sort_keys=True)})


def restore_state(
    folder: Path, module: nn.Module, average: nn.Module | None, optimizer: torch.optim.Adam, identity: dict[str, Any]
) -> Tensor:
    """Set weights, average and moments to those in `folder` and return the losses so far: none, where it has no state.

    Raises:
        CheckpointError: the file is damaged, or its run differs from this one in network, schedule, data or settings.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return torch.empty(0)
    header, tensors = _read(path)
    if header["identity"] != identity:
        raise CheckpointError(
            "the folder holds another training run",
            got=f"{path} with {_differences(header['identity'], identity)}",
            hint=_RESTART,
        )
    with torch.no_grad():
        for name, tensor in _weights(module, average).items():
            tensor.copy_(tensors[name])
    for name, parameter in module.named_parameters():
        # Moments laid out in memory as their parameter is: Adam's arithmetic is then grouped as if never interrupted.
        optimizer.state[parameter] = {
            "step": torch.tensor(float(len(tensors["losses"]))),
            "exp_avg": torch.empty_like(parameter, requires_grad=False).copy_(tensors[f"first_moment/{name}"]),
            "exp_avg_sq": torch.empty_like(parameter, requires_grad=False).copy_(tensors[f"second_moment/{name}"]),
        }
    return tensors["losses"]


def _weights(module: nn.Module, average: nn.Module | None) -> dict[str, Tensor]:
    """The weights by their names in the file, shared with the modules."""
    kept = {"weights": module} if average is None else {"weights": module, "average": average}
    return {f"{place}/{name}": tensor for place, one in kept.items() for name, tensor in one.state_dict().items()}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as stored:
            header = json.loads((stored.metadata() or {})["patchmosaic"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"the training state cannot be read ({error})", got=path, hint=_RESTART) from error
    if header.get("format_version") != FORMAT_VERSION:
        version = header.get("format_version")
        raise CheckpointError(
            f"the training state has format version {version}, this PatchMosaic reads {FORMAT_VERSION}",
            got=path,
            hint=_RESTART,
        )
    if header["sha256"] != _digest(tensors):
        raise CheckpointError("the training state is damaged: its tensors do not match their hash", got=path, hint=_RESTART)
    return header, tensors


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _differences(found: dict[str, Any], asked: dict[str, Any]) -> str:
    """The entries that differ, as `data.content_hash 1f3a (now 77b0)`."""
    old, new = _flat(found), _flat(asked)
    names = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {old.get(name)} (now {new.get(name)})" for name in names)


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
