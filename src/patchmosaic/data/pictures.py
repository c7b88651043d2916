"""Encoded pictures (PNG, JPEG, WebP, ...) -> one uint8 array, through pillow.

Grey pictures stay one channel, colour is RGB; where grey and colour are mixed, all become RGB. Palette pictures count
as colour. Pictures of different sizes, with more than 8 bits a channel or with visible transparency are refused:
cropping, tone mapping and a background are choices that a reader must not make.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from patchmosaic.errors import DataError
from patchmosaic.progress import Progress, silent

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
REPORT_EVERY = 256


def decode(
    pictures: Iterable[tuple[int, bytes | Path]],
    count: int,
    origin: Callable[[int], str],
    progress: Progress = silent,
) -> UInt8[np.ndarray, "n H W C"]:
    """Decode `count` pictures, given as (record number, encoded bytes or file), in their order.

    Raises:
        DataError: a picture that cannot be decoded, or differs in size from the first; names it by `origin`.
    """
    stack = np.empty((count, 0, 0, 1), np.uint8)
    first = 0
    for done, (record, encoded) in enumerate(pictures):
        pixels = _decoded(encoded, origin, record)  # (H, W, C)
        if done == 0:
            first = record
            stack = np.empty((count, *pixels.shape), np.uint8)
        elif pixels.shape[:2] != stack.shape[1:3]:
            raise DataError(
                f"{origin(record)}: a picture of another size than the first ({origin(first)}, {_size(stack[0])})",
                got=_size(pixels),
                hint="Crop or resize the pictures to one size.",
            )
        if pixels.shape[2] > stack.shape[3]:
            stack = stack.repeat(3, axis=3)
        stack[done] = pixels  # grey broadcasts over RGB
        if (done + 1) % REPORT_EVERY == 0 or done + 1 == count:
            progress("decoding pictures", done + 1, count)
    return stack


def _decoded(encoded: bytes | Path, origin: Callable[[int], str], record: int) -> UInt8[np.ndarray, "H W C"]:
    try:
        with Image.open(encoded if isinstance(encoded, Path) else io.BytesIO(encoded)) as image:
            image.load()
    except Exception as error:  # pillow's decoders raise a dozen unrelated types on damaged bytes
        raise DataError(
            f"{origin(record)}: cannot be decoded as a picture ({type(error).__name__}: {error})",
            hint="The file is damaged or truncated: fetch it again, or take it out.",
        ) from error
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        raise DataError(
            f"{origin(record)}: pictures must have 8 bits a channel",
            got=f"mode {image.mode}",
            hint="Save them as 8-bit.",
        )
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise DataError(
            f"{origin(record)}: the picture is partly transparent", got=image.mode, hint="Flatten it on a background."
        )
    pixels = np.asarray(image.convert("L" if image.mode in {"1", "L", "LA", "La"} else "RGB"))
    return pixels.reshape(*pixels.shape[:2], -1)


def _size(pixels: UInt8[np.ndarray, "H W C"]) -> str:
    return f"{pixels.shape[0]}x{pixels.shape[1]}"
