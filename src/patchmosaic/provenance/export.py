"""Provenance as tables: one row for each source of each pixel, or one for each pixel; CSV, JSON or parquet by the suffix.

sample, row, column, rank      a pixel of a sample, all from 0; rank 1 is its likeliest source
image, source_row, source_column, weight, label, class_name
                               the source: position in the pool, the pixel that is the centre of the patch, its belief
captured, entropy, entropy_share, effective_patches, effective_images
                               of the pixel's whole belief, the same in each of its rows
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patchmosaic.errors import MissingExtraError, PatchMosaicError
from patchmosaic.files import replacing, write_text
from patchmosaic.provenance.tracing import Provenance

Table = dict[str, list[Any]]  # column -> values; None is a missing one

OF_A_PIXEL = ("captured", "entropy", "entropy_share", "effective_patches", "effective_images")


def sources_table(provenance: Provenance) -> Table:
    """A row for each sample, pixel and rank. Ranks beyond a pixel's number of candidates have none."""
    shape = provenance.weight.shape
    there = provenance.image >= 0
    places = torch.meshgrid(*(torch.arange(size) for size in shape), indexing="ij")
    table = {name: _values(place, there) for name, place in zip(("sample", "row", "column", "rank"), places, strict=True)}
    table["rank"] = [rank + 1 for rank in table["rank"]]
    table |= {
        "image": _values(provenance.image, there),
        "source_row": _values(provenance.row, there),
        "source_column": _values(provenance.column, there),
        "weight": _values(provenance.weight, there),
    }
    table |= _classes(provenance, there)
    return table | {name: _values(getattr(provenance, name)[..., None].expand(shape), there) for name in OF_A_PIXEL}


def pixels_table(provenance: Provenance) -> Table:
    """A row for each sample and pixel: its likeliest source and the shape of its belief."""
    table = sources_table(provenance)
    likeliest = [i for i, rank in enumerate(table["rank"]) if rank == 1]
    return {name: [values[i] for i in likeliest] for name, values in table.items() if name != "rank"}


def save_table(table: Table, path: str | Path) -> Path:
    """Write a table, whole or not at all.

    JSON is a list of rows, each an object. In CSV a missing value is an empty field.

    Raises:
        PatchMosaicError: a suffix other than .csv, .json or .parquet.
        MissingExtraError: .parquet without pyarrow.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise PatchMosaicError("cannot write a table of this kind", got=path.name, hint=f"Known: {', '.join(_WRITERS)}.")
    write(table, path)
    return path


def _write_csv(table: Table, path: Path) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))


def _write_json(table: Table, path: Path) -> None:
    rows = (dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True))
    write_text(path, "[\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "\n]\n")


def _write_parquet(table: Table, path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError(
            "writing parquet needs pyarrow", hint="pip install 'patchmosaic[parquet]', or write .csv or .json."
        ) from error
    kinds = {"label": pa.int64(), "class_name": pa.string()}  # the columns that may hold no value at all
    columns = {name: pa.array(values, kinds.get(name)) for name, values in table.items()}
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


_WRITERS: dict[str, Callable[[Table, Path], None]] = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet}


def _values(column: Tensor, there: Tensor) -> list[Any]:
    values: list[Any] = column.cpu()[there.cpu()].tolist()
    return values


def _classes(provenance: Provenance, there: Tensor) -> Table:
    if provenance.label is None:
        nothing = [None] * int(there.sum())
        return {"label": nothing, "class_name": nothing}
    labels, names = _values(provenance.label, there), provenance.pool.class_names
    return {"label": labels, "class_name": [names[label] if label < len(names) else None for label in labels]}
