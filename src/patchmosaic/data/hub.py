"""Data sets of the Hugging Face hub, `hf://owner/name`, through the `datasets` package (an extra).

    hf://ylecun/mnist     hf://owner/name@revision     hf://owner/name:configuration

The prefix is asked for so that a misspelt local name never becomes a download. The first use needs the network;
after that `datasets` answers from its cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from patchmosaic.data import pictures
from patchmosaic.data.parquet import columns_of, embedded
from patchmosaic.data.records import Index, Records
from patchmosaic.errors import DataError, LabelError, MissingExtraError
from patchmosaic.progress import Progress

PREFIX = "hf://"
ADDRESS = re.compile(r"hf://(?P<path>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[^:\s]+))?(:(?P<name>\S+))?")


def read(address: str, split: str) -> Records:
    """The images and labels of one split of a hub data set.

    Raises:
        MissingExtraError: `datasets` is not installed.
        DataError: not an address, no network, or no such data set, split or image column.
        LabelError: a label that is not a whole number.
    """
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise DataError("not the address of a hub data set", got=repr(address), hint="Write hf://owner/name.")
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("reading from the hub needs datasets", hint="pip install 'patchmosaic[hub]'") from error
    with _quiet(datasets):
        table = _fetched(datasets, address, split, **match.groupdict())
    columns = columns_of(table.features.to_dict(), table.column_names, address)
    table = table.cast_column(columns.image, datasets.Image(decode=False))

    def origin(record: int) -> str:
        return f"{address} ({split}), record {record}"

    def encoded(index: Index) -> Iterator[tuple[int, bytes | Path]]:
        rows = table.select_columns([columns.image]).select(index)
        for record, row in zip(index.tolist(), rows, strict=True):
            cell = row[columns.image]
            # A set uploaded as a folder of pictures names files of the local cache instead of embedding them.
            cached = cell["path"] if isinstance(cell, dict) and not cell["bytes"] else None
            yield record, Path(cached) if cached else embedded(cell, origin(record))

    def pixels(index: Index, progress: Progress) -> UInt8[np.ndarray, "n H W C"]:
        return pictures.decode(encoded(index), len(index), origin, progress)

    labels = None if columns.label is None else list(table[columns.label])
    wrong = next((i for i, label in enumerate(labels or ()) if type(label) is not int), None)
    if labels is not None and wrong is not None:
        raise LabelError(f"{origin(wrong)}: labels must be whole numbers", got=repr(labels[wrong]))
    return Records(
        where=f"{address} ({split})",
        count=len(table),
        pixels=pixels,
        origin=origin,
        labels=None if labels is None else np.array(labels, np.int64),
        class_names=columns.class_names,
    )


def _fetched(datasets: Any, address: str, split: str, path: str, revision: str | None, name: str | None) -> Any:
    try:
        return datasets.load_dataset(path, name, split=split, revision=revision)
    except ConnectionError as error:
        raise DataError(
            f"{address} is not in the cache, and fetching it needs the network ({error})",
            hint="Connect, or load a local copy by its path.",
        ) from error
    except (OSError, ValueError) as error:  # no such data set, split or configuration; `datasets` says which
        raise DataError(f"{address}: cannot load the split {split!r} ({error})") from error


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Without the progress bars that `datasets` draws on its own."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
