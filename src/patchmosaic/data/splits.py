"""Which split a file belongs to, told from the words of its name: train-00000-of-00005.parquet, t10k-images-idx3-ubyte.

A name without such a word belongs to "train".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from patchmosaic.errors import DataError

WORDS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "t10k": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}


def named_split(name: str) -> str | None:
    """The split that a file or folder name tells, if any."""
    return next((WORDS[word] for word in re.split(r"[^a-z0-9]+", name.lower()) if word in WORDS), None)


def of_split(paths: Iterable[Path], split: str, where: Path) -> list[Path]:
    """Those of `paths` that belong to `split`, sorted by name.

    Raises:
        DataError: none of them does; names the splits that there are.
    """
    by_split: dict[str, list[Path]] = {}
    for path in sorted(paths):
        by_split.setdefault(named_split(path.name) or "train", []).append(path)
    wanted = WORDS.get(split, split)
    if wanted not in by_split:
        raise no_such_split(where, split, by_split)
    return by_split[wanted]


def no_such_split(where: object, split: str, known: Iterable[str] = ("train",)) -> DataError:
    """The error for a split that a source does not have."""
    hint = f"There is: {', '.join(known)}. To hold images out of a set: load(...).split(held_out)."
    return DataError(f"{where} has no such split", got=repr(split), hint=hint)
