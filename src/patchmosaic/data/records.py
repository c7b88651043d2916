"""Records: what every reader returns, images that are not decoded yet.

A reader checks its files and reads the labels; pixels are decoded only for the records that are asked for, so that
`limit=100` decodes a hundred pictures and not sixty thousand. Records are counted from 0, in file order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from patchmosaic.errors import DataError, LabelError
from patchmosaic.progress import Progress

Index = Int64[np.ndarray, " n"]
Pixels = UInt8[np.ndarray, "n H W C"] | Float32[np.ndarray, "n H W C"]


@dataclass(frozen=True)
class Records:
    """Images of one size in a file or folder, with their labels, before any choice among them.

    Args:
        where: the file or folder, as errors name it.
        count: how many records there are.
        pixels: ascending record numbers -> (n, H, W, C), uint8 in 0..255 or float32 in [-1, 1].
        origin: record number -> the file and record, as errors name it.
        labels: (count,) or None.
        class_names: the name of class i at index i; empty where they are not known.
        name: what to call the set in reports.

    Raises:
        DataError: no records.
        LabelError: not one label a record, or a label outside the class names.
    """

    where: str
    count: int
    pixels: Callable[[Index, Progress], Pixels]
    origin: Callable[[int], str]
    labels: Int64[np.ndarray, " count"] | None = None
    class_names: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        if self.count == 0:
            raise DataError("holds no images", got=self.where)
        if self.labels is None:
            return
        if self.labels.shape != (self.count,):
            raise LabelError(f"{self.where}: labels must be one a image", got=f"{self.labels.shape} for {self.count}")
        top = len(self.class_names) - 1 if self.class_names else np.iinfo(np.int64).max
        if self.labels.min() >= 0 and self.labels.max() <= top:
            return
        wrong = np.flatnonzero((self.labels < 0) | (self.labels > top))
        allowed = f"from 0 to {top}" if self.class_names else "whole numbers from 0 up"
        raise LabelError(
            f"{self.origin(int(wrong[0]))}: labels must be {allowed}",
            got=int(self.labels[wrong[0]]),
            hint=f"{len(wrong)} of {self.count} labels are outside.",
        )


def taken(array: Shaped[np.ndarray, "N ..."], index: Index) -> Shaped[np.ndarray, "n ..."]:
    """`array[index]`, for ascending record numbers. A run of consecutive records is not copied: mapped, it stays mapped."""
    first, last = int(index[0]), int(index[-1])
    return array[first : last + 1] if last - first + 1 == len(index) else array[index]


def whole_numbers(labels: Shaped[np.ndarray, "*shape"], path: Path) -> Int64[np.ndarray, " N"]:
    """Labels (N,) or (N, 1) of any integer type, as int64; without a copy where they are that.

    Raises:
        LabelError: another type or shape.
    """
    if labels.dtype.kind not in "iu":
        raise LabelError(f"{path}: labels must be whole numbers", got=labels.dtype, hint="labels.astype(np.int64).")
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1:
        raise LabelError(f"{path}: labels must be (N,) or (N, 1)", got=labels.shape)
    return flat.astype(np.int64, copy=False)


def by_part(index: Index, counts: Sequence[int]) -> Iterator[tuple[int, Index]]:
    """Cut ascending record numbers at the ends of parts of `counts` records: (part, record numbers within it)."""
    starts = np.cumsum([0, *counts])
    cuts = np.searchsorted(index, starts)
    for part in range(len(counts)):
        inside = index[cuts[part] : cuts[part + 1]]
        if len(inside):
            yield part, inside - starts[part]


def origin_in_files(files: Sequence[Path], counts: Sequence[int]) -> Callable[[int], str]:
    """The `origin` of records that lie in several files, one file after the other."""

    def origin(record: int) -> str:
        ((part, inside),) = by_part(np.array([record]), counts)
        return f"{files[part]}, record {inside[0]}"

    return origin
