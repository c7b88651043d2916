"""Arrays in a NumPy .npz archive.

images      `images`, `x` or `arr_0`, or for a file of several splits `train_images` or `x_train`
labels      `labels` or `y`, `train_labels` or `y_train`; optional, (N,) or (N, 1)
class_names optional strings

Layout: three dimensions are (N, H, W). Four are (N, H, W, C) or (N, C, H, W), whichever puts 1 or 3 channels in its
place. Where both do, or a last dimension of 1 or 3 makes three dimensions look like one picture, the archive must say
`layout`.

Values: uint8 is 0..255. Floats with a negative value must lie in [-1, 1], and are taken as they are; without one they
must lie in [0, 1], and are taken as that. Anything else must say `value_range`, two numbers that are sent to -1 and 1.
The rule looks at all images of the array, so that `limit` and `classes` do not change what a pixel means.

>>> np.savez("pool.npz", images=images, layout="NCHW", value_range=(0, 65535))  # doctest: +SKIP
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from patchmosaic.data.records import Pixels, Records, whole_numbers
from patchmosaic.errors import DataError, ShapeError, ValueRangeError

CHANNELS = (1, 3)
ROUNDING = 1e-5  # of the range: how far arithmetic may have carried a value past an end
TO_NHWC = {"NHWC": (0, 1, 2, 3), "NCHW": (0, 2, 3, 1), "NHW": (0, 1, 2)}

Array = NDArray[Any]


def read(path: Path, split: str) -> Records:
    """The images and labels of an archive; `split` chooses among `train_images`, `test_images` and the like.

    Raises:
        DataError: not an archive, damaged, pickled, or without images.
        ShapeError: the layout cannot be told.
        ValueRangeError: NaN, infinity, or values whose range cannot be told.
        LabelError: labels that are not whole numbers, one an image.
    """
    arrays = _arrays(path)
    images = _first(arrays, f"{split}_images", f"x_{split}", "images", "x", "arr_0")
    if images is None:
        raise DataError(
            f"{path} has no array of images for {split!r}",
            got=", ".join(arrays) or "an empty archive",
            hint=f"Call it images, x or arr_0; or {split}_images in an archive of several splits.",
        )
    if images.size == 0:
        raise DataError(f"{path}: holds no images", got=images.shape)
    labels = _first(arrays, f"{split}_labels", f"y_{split}", "labels", "y")
    pixels = _in_range(_channels_last(images, arrays.get("layout"), path), arrays.get("value_range"), path)
    return Records(
        where=str(path),
        count=len(pixels),
        pixels=lambda index, _: pixels[index],
        origin=lambda record: f"{path}, record {record}",
        labels=None if labels is None else whole_numbers(labels, path),
        class_names=tuple(str(name) for name in arrays.get("class_names", np.array([])).ravel()),
    )


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read as a .npz archive ({error})",
            hint="Write it with np.savez(path, images=...); arrays of objects are pickles and are not opened.",
        ) from error


def _first(arrays: dict[str, Array], *names: str) -> Array | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _channels_last(images: Array, layout: Array | None, path: Path) -> Shaped[np.ndarray, "N H W C"]:
    shape = images.shape
    if layout is not None:
        fits = [str(layout)] if str(layout) in TO_NHWC and len(str(layout)) == images.ndim else []
    elif images.ndim == 3:
        fits = [] if shape[2] in CHANNELS else ["NHW"]
    elif images.ndim == 4:
        fits = [name for name, axis in (("NHWC", 3), ("NCHW", 1)) if shape[axis] in CHANNELS]
    else:
        fits = []
    if len(fits) != 1:
        said = f" with layout={str(layout)!r}" if layout is not None else ""
        raise ShapeError(
            f"{path}: cannot tell which dimensions are rows, columns and channels",
            got=f"{shape}{said}",
            hint='Say it in the archive: np.savez(..., layout="NHWC"), "NCHW" or "NHW".',
        )
    channels_last = images.transpose(TO_NHWC[fits[0]])
    return channels_last.reshape(*channels_last.shape[:3], -1)


def _in_range(images: Shaped[np.ndarray, "N H W C"], value_range: Array | None, path: Path) -> Pixels:
    if value_range is None and images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "fiu":
        raise ValueRangeError(f"{path}: images must be uint8 or floating point", got=images.dtype)
    bad = ~np.isfinite(images).all(axis=(1, 2, 3))
    if bad.any():
        raise ValueRangeError(f"{path}, record {bad.argmax()}: images must be finite", got="NaN or infinity")
    low, high = _limits(images, value_range, path)
    slack = ROUNDING * (high - low)
    outside = ((images < low - slack) | (images > high + slack)).any(axis=(1, 2, 3))
    if outside.any():
        record = int(outside.argmax())
        raise ValueRangeError(
            f"{path}, record {record}: values must lie in [{low:g}, {high:g}]",
            got=f"[{images[record].min():g}, {images[record].max():g}]",
            hint="For values up to 255: images.astype(np.uint8). Else: np.savez(..., value_range=(low, high)).",
        )
    scaled = images if (low, high) == (-1, 1) else (images.astype(np.float64) - low) * (2 / (high - low)) - 1
    return scaled.astype(np.float32).clip(-1, 1)


def _limits(images: Shaped[np.ndarray, "N H W C"], value_range: Array | None, path: Path) -> tuple[float, float]:
    """The two values that become -1 and 1."""
    if value_range is not None:
        if value_range.shape != (2,) or value_range.dtype.kind not in "fiu" or not value_range[0] < value_range[1]:
            raise ValueRangeError(f"{path}: value_range must be two rising numbers", got=value_range.tolist())
        return float(value_range[0]), float(value_range[1])
    if images.dtype.kind != "f":
        raise ValueRangeError(
            f"{path}: whole numbers must be uint8, 0 to 255",
            got=images.dtype,
            hint="images.astype(np.uint8), or np.savez(..., value_range=(low, high)).",
        )
    return (-1.0 if images.min() < -ROUNDING else 0.0), 1.0
