"""CIFAR-10 in its binary version: records of 3,073 bytes, the label and then 1,024 red, green and blue bytes each.

The "python version" is a pickle. Unpickling runs whatever code the file holds, so it is refused.
A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from patchmosaic.data.records import Index, Records, by_part, origin_in_files
from patchmosaic.data.splits import of_split
from patchmosaic.errors import DataError
from patchmosaic.progress import Progress

RECORD = 1 + 3 * 32 * 32
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_BATCHES = {f"data_batch_{number}.bin" for number in range(1, 6)}


def batches_in(folder: Path) -> list[Path]:
    """The binary batches of a folder."""
    return [path for path in folder.iterdir() if path.name in TRAIN_BATCHES or path.name == "test_batch.bin"]


def is_pickled(path: Path) -> bool:
    """Whether a file or folder is CIFAR-10's python version."""
    if path.is_dir():
        return any((path / name).exists() for name in ("data_batch_1", "test_batch", "batches.meta", "cifar-10-batches-py"))
    return path.name.startswith(("data_batch_", "test_batch", "batches.meta")) and path.suffix != ".bin"


def refused(path: Path) -> DataError:
    """The error for pickled batches."""
    return DataError(
        "pickled CIFAR-10 batches are not opened, because unpickling runs code",
        got=path,
        hint="Get the binary version (cifar-10-binary.tar.gz) from https://www.cs.toronto.edu/~kriz/cifar.html.",
    )


def read(path: Path, split: str) -> Records:
    """A batch, or the batches of a folder that belong to `split`, in the order of their numbers.

    Raises:
        DataError: a batch is missing, or its size is not a multiple of 3,073 bytes.
        LabelError: a label above 9.
    """
    files = [path]
    if path.is_dir():
        files = of_split(batches_in(path), split, path)
        missing = sorted(TRAIN_BATCHES - {file.name for file in files}) if split == "train" else []
        if missing:
            raise DataError(f"{path} lacks {', '.join(missing)}", hint="Fetch them, or give one batch file itself.")
    batches = [_batch(file) for file in files]
    counts = [len(batch) for batch in batches]

    def pixels(index: Index, progress: Progress) -> UInt8[np.ndarray, "n 32 32 3"]:
        chosen = [batches[part][inside, 1:] for part, inside in by_part(index, counts)]
        return np.concatenate(chosen).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)

    return Records(
        where=str(path),
        count=sum(counts),
        pixels=pixels,
        origin=origin_in_files(files, counts),
        labels=np.concatenate([batch[:, 0] for batch in batches]).astype(np.int64),
        class_names=CLASS_NAMES,
    )


def _batch(path: Path) -> UInt8[np.ndarray, "n 3073"]:
    size = path.stat().st_size
    if size == 0 or size % RECORD:
        raise DataError(
            f"{path}: a CIFAR-10 batch is a multiple of {RECORD} bytes",
            got=f"{size} bytes, which end within record {size // RECORD}",
            hint="The file is truncated or of another format: fetch it again.",
        )
    return np.memmap(path, np.uint8, mode="r").reshape(-1, RECORD)
