"""Arrays in NumPy .npy files, mapped and never read whole: a pool may be larger than the memory.

pool.npy         images (N, C, H, W) in C order: uint8, 0 to 255, or float32 in [-1, 1]
pool_labels.npy  labels (N,) or (N, 1) beside it; optional. int64 is mapped, other whole numbers are read

Mapped pixels cannot be rearranged or rescaled, so the file must hold them as they are used; `.npz` archives are less strict.

>>> images = np.lib.format.open_memmap("pool.npy", "w+", np.uint8, (10**7, 3, 32, 32))  # doctest: +SKIP
>>> images[:1000] = the_first_thousand  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from patchmosaic.data.records import Records, taken, whole_numbers
from patchmosaic.errors import DataError, ShapeError, ValueRangeError

CHANNELS = (1, 3)


def read(path: Path, split: str) -> Records:
    """The images of a file, with the labels beside it; a file is one split, and `split` is not looked at.

    Raises:
        DataError: not a .npy file, damaged, pickled, or without images.
        ShapeError: not (N, C, H, W) in C order.
        ValueRangeError: neither uint8 nor float32, or floats that seem to lie in [0, 1].
        LabelError: labels that are not whole numbers, one an image.
    """
    images = _images(path)
    labels_file = path.with_name(f"{path.stem}_labels.npy")
    return Records(
        where=str(path),
        count=len(images),
        pixels=lambda index, _: taken(images, index).transpose(0, 2, 3, 1),
        origin=lambda record: f"{path}, record {record}",
        labels=whole_numbers(_mapped(labels_file), labels_file) if labels_file.is_file() else None,
    )


def _images(path: Path) -> UInt8[np.ndarray, "N C H W"] | Float32[np.ndarray, "N C H W"]:
    images = _mapped(path)
    shape = images.shape
    if len(shape) != 4:
        hint = "Grey images have C = 1: np.save(path, images[:, None])."
        raise ShapeError(f"{path}: images must be (N, C, H, W)", got=shape, hint=hint)
    if images.size == 0:
        raise DataError(f"{path}: holds no images", got=shape)
    if shape[1] not in CHANNELS and shape[3] in CHANNELS:
        hint = "np.save(path, np.ascontiguousarray(images.transpose(0, 3, 1, 2)))."
        raise ShapeError(f"{path}: images must be (N, C, H, W), and seem to be (N, H, W, C)", got=shape, hint=hint)
    if not images.flags.c_contiguous:
        hint = "np.save(path, np.ascontiguousarray(images))."
        raise ShapeError(f"{path}: images must be in C order", got="Fortran order", hint=hint)
    if images.dtype not in (np.uint8, np.float32):
        hint = "images.astype(np.float32), or np.uint8 for 0 to 255."
        raise ValueRangeError(f"{path}: images must be uint8, or float32 in [-1, 1]", got=images.dtype, hint=hint)
    if images.dtype == np.float32 and not any((image < 0).any() for image in images):
        hint = "For [0, 1]: 2 * images - 1."
        raise ValueRangeError(f"{path}: float32 images must lie in [-1, 1]", got="no negative value", hint=hint)
    return images


def _mapped(path: Path) -> NDArray[Any]:
    try:
        return np.lib.format.open_memmap(path, mode="r")  # never unpickles
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: cannot be mapped as a .npy file ({error})",
            hint="Write it with np.save(path, images); arrays of objects are pickles and are not opened.",
        ) from error
