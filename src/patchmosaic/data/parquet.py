"""Hugging Face parquet: one image a row, `image` = {bytes, path}, `label` = a whole number.

Which column is which, and the class names, are read from the features that `datasets` writes in the schema's metadata;
without them the columns must be called as above (or `img`, `labels`). pyarrow is an extra, imported when needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from patchmosaic.data import pictures
from patchmosaic.data.records import Index, Records, by_part, origin_in_files
from patchmosaic.data.splits import of_split
from patchmosaic.errors import DataError, LabelError, MissingExtraError
from patchmosaic.progress import Progress

AGAIN = "The file is damaged or truncated: fetch it again."


class Columns(NamedTuple):
    """Which columns hold the images and labels, and the names of the classes."""

    image: str
    label: str | None
    class_names: tuple[str, ...]


def columns_of(features: Mapping[str, Any], names: Sequence[str], where: object) -> Columns:
    """Choose the columns from Hugging Face features, `{"label": {"_type": "ClassLabel", "names": [...]}}`, or by name.

    Raises:
        DataError: no column of images.
    """

    def first(kind: str, *usual: str) -> str | None:
        typed = [name for name in names if (features.get(name) or {}).get("_type") == kind]
        return next((name for name in (*usual, *typed) if name in (typed or names)), None)

    image, label = first("Image", "image", "img"), first("ClassLabel", "label", "labels")
    if image is None:
        raise DataError(f"{where} has no column of images", got=", ".join(names), hint="Call it image.")
    return Columns(image, label, tuple((features.get(label or "") or {}).get("names") or ()))


def read(path: Path, split: str) -> Records:
    """A parquet file, or all files of a folder that belong to `split`, sorted by name.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: a file is damaged, a numbered one is missing, or a picture cannot be decoded.
        LabelError: a label is missing or not a whole number.
    """
    files = [path]
    if path.is_dir():
        files = of_split(path.glob("*.parquet"), split, path)
        _check_complete(files)
    opened = [_open(file) for file in files]
    columns = columns_of(_features(opened[0]), opened[0].schema_arrow.names, files[0])
    counts = [file.metadata.num_rows for file in opened]
    origin = origin_in_files(files, counts)

    def pixels(index: Index, progress: Progress) -> UInt8[np.ndarray, "n H W C"]:
        return pictures.decode(_encoded(index, files, counts, columns.image, origin), len(index), origin, progress)

    labels = [_labels(table, file, columns.label) for table, file in zip(opened, files, strict=True)]
    return Records(
        where=str(path),
        count=sum(counts),
        pixels=pixels,
        origin=origin,
        labels=np.concatenate([part for part in labels if part is not None]) if columns.label else None,
        class_names=columns.class_names,
    )


def _check_complete(files: Sequence[Path]) -> None:
    """train-00000-of-00005.parquet promises four more."""
    names = {file.name for file in files}
    for file in files:
        if match := re.fullmatch(r"(.*)-\d{5}-of-(\d{5})\.parquet", file.name):
            promised = (f"{match[1]}-{i:05}-of-{match[2]}.parquet" for i in range(int(match[2])))
            if missing := [name for name in promised if name not in names]:
                raise DataError(f"{file.parent} lacks {', '.join(missing)}", hint="Fetch them, or give one file itself.")


def _open(path: Path) -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("reading parquet needs pyarrow", hint="pip install 'patchmosaic[parquet]'") from error
    try:
        return pq.ParquetFile(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise DataError(f"{path}: cannot be read as parquet ({error})", hint=AGAIN) from error


def _features(file: Any) -> Mapping[str, Any]:
    try:
        features = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _column(file: Any, path: Path, name: str, group: int) -> Any:
    try:
        return file.read_row_group(group, columns=[name]).column(name)
    except (OSError, ValueError, KeyError) as error:
        first = sum(file.metadata.row_group(i).num_rows for i in range(group))
        raise DataError(f"{path}: cannot read {name!r} from record {first} on ({error})", hint=AGAIN) from error


def _labels(file: Any, path: Path, name: str | None) -> Int64[np.ndarray, " n"] | None:
    if name is None:
        return None
    values = [value for i in range(file.num_row_groups) for value in _column(file, path, name, i).to_pylist()]
    wrong = next((i for i, value in enumerate(values) if type(value) is not int), None)
    if wrong is not None:
        raise LabelError(f"{path}, record {wrong}: labels must be whole numbers", got=repr(values[wrong]))
    return np.array(values, np.int64)


def _encoded(
    index: Index, files: Sequence[Path], counts: Sequence[int], name: str, origin: Callable[[int], str]
) -> Iterator[tuple[int, bytes]]:
    """(record, encoded picture) of the asked records; reads only the row groups that hold one."""
    for part, inside in by_part(index, counts):
        with _open(files[part]) as file:
            groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            for group, rows in by_part(inside, groups):
                column = _column(file, files[part], name, group).take(rows)
                first = sum(counts[:part]) + sum(groups[:group])
                for row, value in zip(rows, column, strict=True):
                    record = first + int(row)
                    yield record, embedded(value.as_py(), origin(record))


def embedded(value: object, origin: str) -> bytes:
    """The encoded picture of an image cell, `{"bytes": ..., "path": ...}` or plain bytes.

    Raises:
        DataError: the cell is empty or of another type.
    """
    encoded = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(encoded, bytes):
        raise DataError(
            f"{origin}: the row holds no encoded picture",
            got=f"{type(encoded).__name__} in {type(value).__name__}",
            hint='Pictures must be embedded, {"bytes": ..., "path": ...}, not only named by their path.',
        )
    return encoded
