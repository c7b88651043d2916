"""load: choose among the records of a data set, decode them, and bring them to one size.

8-bit images of the right size stay 8-bit, and what a reader mapped stays mapped. Where the size differs, images become float32
in memory: v / 127.5 - 1, then bilinear interpolation with antialiasing. The interpolation is torch's, in float32, with
`align_corners=False`; an image comes out the same whatever `limit` and `classes`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Shaped, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from patchmosaic.data.imageset import ImageSet
from patchmosaic.data.records import Index, Pixels, Records, taken
from patchmosaic.data.sources import open_records
from patchmosaic.engine.memory import as_numbers
from patchmosaic.errors import DataError, LabelError, ShapeError
from patchmosaic.progress import Progress, silent

CHUNK = 2048  # images scaled at once: bounds the temporary copies


def load(
    name_or_path: str | os.PathLike[str],
    image_size: int | None = 32,
    classes: Sequence[int | str] | int | str | None = None,
    limit: int | None = None,
    split: str = "train",
    *,
    progress: Progress = silent,
) -> ImageSet:
    """Read a pool of training images.

    Args:
        name_or_path: `digits` (bundled); `mnist`, `fashion_mnist`, `cifar10` or any other subfolder of the folder
            PATCHMOSAIC_DATA; a path to an IDX file, CIFAR-10 batch, parquet file or .npz archive, or to a folder of
            such files or of pictures; a .npy file, which may be larger than the memory; or `hf://owner/name`. Each
            reader's module tells what it accepts.
        image_size: images become image_size x image_size; None keeps their own size. Only square images are resized.
            Resized images are float32 and in memory, whatever they come from.
        classes: keep only these, by number or name; labels keep their numbers. None keeps all. The images of some
            classes are copied into memory, whatever they come from.
        limit: keep the first `limit` of what is left, in file order (so not balanced: a folder of pictures is sorted by
            class). More than there are means all.
        split: which part of a source that has several. A single file is one part, and `split` is not looked at, except
            in a .npz archive.
        progress: told of decoded pictures.

    Raises:
        DataError: the data are missing, damaged, or inconsistent; names the file and the record, counted from 0.
        LabelError: an unknown class, or wrong labels in the data.
        ShapeError: image_size is given, but the images are not square.
        ValueRangeError: a .npz archive or .npy file with values of no known range.
        MissingExtraError: parquet without pyarrow, or the hub without datasets.

    >>> load("digits", image_size=None, classes=[3], limit=2)
    ImageSet(digits: 2 images of 1x8x8, 1 classes)
    """
    if image_size is not None and image_size < 1:
        raise ShapeError("image_size must be at least 1", got=image_size, hint="None keeps the size of the images.")
    if limit is not None and limit < 1:
        raise DataError("limit must be at least 1", got=limit, hint="None keeps all images.")
    records = open_records(name_or_path, split)
    chosen = np.arange(records.count) if classes is None else _of_classes(records, classes)
    chosen = chosen[:limit]
    images = _finished(records.pixels(chosen, progress), image_size, records.where)
    labels = None if records.labels is None else _tensor(taken(records.labels, chosen))
    return ImageSet(images, labels, class_names=records.class_names, name=records.name)


def _of_classes(records: Records, classes: Sequence[int | str] | int | str) -> Index:
    if records.labels is None:
        raise LabelError(f"{records.where} has no labels to choose classes by", got=classes)
    present = {int(label) for label in np.unique(records.labels)}
    names = dict(enumerate(records.class_names))
    wanted: set[int] = set()
    for one in [classes] if isinstance(classes, int | str) else classes:
        matches = {label for label in present if (names.get(label) if isinstance(one, str) else label) == one}
        if not matches:
            known = ", ".join(f"{label} {names.get(label, '')}".strip() for label in sorted(present))
            raise LabelError(f"{records.where} has no image of this class", got=repr(one), hint=f"Known: {known}.")
        wanted |= matches
    if not wanted:
        raise LabelError("classes must name at least one class", got=classes, hint="None keeps all.")
    return np.flatnonzero(np.isin(records.labels, sorted(wanted)))


def _finished(
    pixels: Pixels, image_size: int | None, where: str
) -> UInt8[Tensor, "n C rows columns"] | Float32[Tensor, "n C rows columns"]:
    count, height, width, channels = pixels.shape
    size = (height, width) if image_size is None else (image_size, image_size)
    if size != (height, width) and height != width:
        raise ShapeError(
            f"{where}: only square images are resized",
            got=f"{height}x{width}",
            hint="image_size=None keeps their size; or crop them first.",
        )
    channels_first = pixels.transpose(0, 3, 1, 2)
    if size == (height, width):
        return _tensor(channels_first)
    images = torch.empty(count, channels, *size)
    for start in range(0, count, CHUNK):
        chunk = as_numbers(_tensor(channels_first[start : start + CHUNK]))
        scaled = interpolate(chunk, size, mode="bilinear", antialias=True, align_corners=False)
        images[start : start + CHUNK] = scaled.clamp(-1, 1)  # interpolation rounds past the ends by 1e-7
    return images


def _tensor(array: Shaped[np.ndarray, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """Contiguous, and without a copy where the array is."""
    with warnings.catch_warnings():
        # A mapped file is read-only, which torch cannot express and warns of. Nothing writes to the images of a pool.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))
