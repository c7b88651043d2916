"""IDX files, the format of MNIST and Fashion-MNIST, plain or gzipped.

A file is: two zero bytes, the type of its values (0x08: unsigned byte), the number of dimensions, each dimension as a
big-endian 32-bit number, then the values. Images have 3 dimensions (N, H, W), labels 1. Y. LeCun,
http://yann.lecun.com/exdb/mnist, "File formats".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchmosaic.data.records import Records
from patchmosaic.data.splits import of_split
from patchmosaic.errors import DataError

UNSIGNED_BYTE = 0x08
AGAIN = "The file is damaged or not what its name says: fetch it again."


def images_in(folder: Path) -> list[Path]:
    """The IDX images files of a folder, told by name; a plain file hides its gzipped twin."""
    files = [path for path in folder.iterdir() if "images" in path.name and "idx3" in path.name and path.is_file()]
    return [path for path in files if path.suffix != ".gz" or path.with_suffix("") not in files]


def read(path: Path, split: str) -> Records:
    """An images file, or the images file of `split` in a folder, with the labels file that belongs to it.

    A folder must hold the labels; an images file on its own is read without labels where there is no labels file.

    Raises:
        DataError: no or several images files for the split, no labels file, a damaged file, or unequal counts.
    """
    file = _only(of_split(images_in(path), split, path), split, path) if path.is_dir() else path
    labels_file = _labels_of(file)
    if labels_file is None and path.is_dir():
        raise DataError(
            f"{path} has no labels file for {file.name}",
            hint="Fetch it, or give the images file itself to load it without labels.",
        )
    images = _values(file, dimensions=3)
    labels = None if labels_file is None else _values(labels_file, dimensions=1)
    if labels is not None and len(labels) != len(images):
        raise DataError(
            f"{file} and {labels_file} must hold as many images as labels",
            got=f"{len(images)} images and {len(labels)} labels",
            hint=AGAIN,
        )
    return Records(
        where=str(file),
        count=len(images),
        pixels=lambda index, _: images[index, :, :, None],
        origin=lambda record: f"{file}, record {record}",
        labels=None if labels is None else labels.astype(np.int64),
    )


def _only(files: list[Path], split: str, folder: Path) -> Path:
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{folder} has several images files for {split!r}", got=names, hint="Give the file itself.")
    return files[0]


def _labels_of(images: Path) -> Path | None:
    """train-images-idx3-ubyte.gz -> train-labels-idx1-ubyte, or the same gzipped, where there is one."""
    name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    if name == images.name.removesuffix(".gz"):
        return None
    return next((path for path in (images.with_name(name), images.with_name(f"{name}.gz")) if path.is_file()), None)


def _values(path: Path, dimensions: int) -> NDArray[np.uint8]:
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{path}: an IDX file starts with two zero bytes", got=content[:4].hex(" ") or "nothing", hint=AGAIN)
    if content[2] != UNSIGNED_BYTE:
        raise DataError(f"{path}: values must be unsigned bytes, type code 0x08", got=f"{content[2]:#04x}")
    if content[3] != dimensions:
        expected = "images have 3 dimensions" if dimensions == 3 else "labels have 1 dimension"
        raise DataError(f"{path}: {expected}", got=content[3], hint="Is it the other of the images and labels files?")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path}: truncated within the header of {start} bytes", got=f"{len(content)} bytes", hint=AGAIN)
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) != start + math.prod(shape):
        raise DataError(_wrong_length(path, shape, len(content) - start), hint=AGAIN)
    if dimensions == 3 and 0 in shape:
        raise DataError(f"{path}: holds no images", got="x".join(map(str, shape)))
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        return gzip.decompress(path.read_bytes()) if zipped else path.read_bytes()
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: cannot be read ({error})", hint=AGAIN) from error


def _wrong_length(path: Path, shape: tuple[int, ...], length: int) -> str:
    expected, record = math.prod(shape), math.prod(shape[1:])
    if length > expected:
        return f"{path}: {length - expected} bytes follow the last of its {shape[0]} records"
    return f"{path}: truncated within record {length // record} of {shape[0]} ({length} of {expected} bytes)"
