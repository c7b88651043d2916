"""SeedStore: one result for each seed (and class), kept as it comes, and the state of the batch at work.

A store lives in a folder named by the fingerprint of everything its results depend on: another network, pool, scale or step
count is another folder, and a stale result is never mistaken for a fresh one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.files import fingerprint, replacing, write_json

SeedKey = tuple[int, int | None]  # seed number, class label


@dataclass(frozen=True)
class Batch:
    """Trajectories drawn together: their seeds, the steps done, and the state that these led to; None before the first."""

    keys: list[SeedKey]
    done: int = 0
    x_t: Float[Tensor, "B C H W"] | None = None


class SeedStore:
    """One tensor for each (seed, label), on disk or (without a folder) in memory.

    Args:
        folder: where stores live, or None.
        name: starts the name of this store's folder.
        description: everything the results depend on but the seed number, as JSON-able data.
    """

    def __init__(self, folder: Path | None, name: str, description: dict[str, Any]) -> None:
        self._memory: dict[SeedKey, Tensor] = {}
        self._folder = None if folder is None else folder / f"{name}-{fingerprint(description)}"
        if self._folder is not None:
            write_json(self._folder / "description.json", description)

    def missing(self, keys: Iterable[SeedKey]) -> list[SeedKey]:
        """The keys that have no result yet, in order."""
        if self._folder is None:
            return [key for key in keys if key not in self._memory]
        return [key for key in keys if not self._path(key).exists()]

    def put(self, key: SeedKey, result: Tensor) -> None:
        """Keep one result."""
        if self._folder is None:
            self._memory[key] = result.cpu()
            return
        with replacing(self._path(key)) as temporary:
            save_file({"result": result.cpu().contiguous()}, temporary)

    def put_batch(self, batch: Batch | None) -> None:
        """Keep the state of the batch at work, in place of the last; with None, forget it. In memory nothing is kept."""
        if self._folder is None:
            return
        if batch is None or batch.x_t is None:
            self._batch_path.unlink(missing_ok=True)
            return
        keys = torch.tensor([(seed, -1 if label is None else label) for seed, label in batch.keys])
        with replacing(self._batch_path) as temporary:
            state = {"keys": keys, "done": torch.tensor(batch.done), "x_t": batch.x_t.cpu().contiguous()}
            save_file(state, temporary)

    def batch(self) -> Batch | None:
        """The batch that was at work when a job was cut short.

        Raises:
            CheckpointError: its file is damaged.
        """
        if self._folder is None or not self._batch_path.exists():
            return None
        keys, done, x_t = _load(self._batch_path, "keys", "done", "x_t")
        return Batch([(seed, None if label < 0 else label) for seed, label in keys.tolist()], int(done), x_t)

    def get(self, keys: Sequence[SeedKey]) -> Tensor:
        """The results of `keys`, stacked in that order.

        Raises:
            CheckpointError: a file is damaged.
        """
        if not keys:
            raise PatchMosaicError("there must be at least one seed", got="none")
        return torch.stack([self._one(key) for key in keys])

    def _one(self, key: SeedKey) -> Tensor:
        if self._folder is None:
            return self._memory[key]
        (result,) = _load(self._path(key), "result")
        return result

    @property
    def _batch_path(self) -> Path:
        assert self._folder is not None
        return self._folder / "unfinished.safetensors"

    def _path(self, key: SeedKey) -> Path:
        assert self._folder is not None
        seed, label = key
        return self._folder / (f"seed-{seed:06d}" + ("" if label is None else f"-class-{label}") + ".safetensors")


def _load(path: Path, *names: str) -> list[Tensor]:
    try:
        tensors = load_file(path)
        return [tensors[name] for name in names]
    except (SafetensorError, KeyError) as error:
        raise CheckpointError(
            f"a stored result is damaged ({error})", got=path, hint="Delete the file and run again."
        ) from error
