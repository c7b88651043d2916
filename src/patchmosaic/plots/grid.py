"""Images in [-1, 1] -> 8-bit pixels, and grids of them: -1 is black, 1 is white, what lies beyond is clipped."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from patchmosaic.errors import PatchMosaicError, ShapeError, ValueRangeError
from patchmosaic.files import replacing

GAP_VALUE = 255


def to_pixels(images: Float[Tensor, "n C H W"]) -> UInt8[np.ndarray, "n H W *rgb"]:
    """(n, H, W) of grey images, (n, H, W, 3) of RGB.

    Raises:
        ShapeError: neither 1 nor 3 channels, or not four dimensions.
        ValueRangeError: a value is NaN or infinite.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ShapeError("images to be shown must be (n, 1, H, W) or (n, 3, H, W)", got=tuple(images.shape))
    values = images.detach().double().cpu().numpy()
    if not np.isfinite(values).all():
        raise ValueRangeError("images to be shown must be finite", got="NaN or infinity")
    pixels = np.rint((values.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels[..., 0] if images.shape[1] == 1 else pixels


def tile(
    images: Float[Tensor, "n C H W"], columns: int | None = None, *, gap: int = 1, scale: int = 1
) -> UInt8[np.ndarray, "height width *rgb"]:
    """Images in rows of `columns`, in reading order, with white gaps.

    Args:
        images: in [-1, 1].
        columns: images a row; by default as many as make the grid about square.
        gap: pixels between neighbours, after scaling.
        scale: each pixel becomes scale x scale equal ones.

    Raises:
        PatchMosaicError: no images, columns or scale below 1, or gap below 0.
        ShapeError, ValueRangeError: as for `to_pixels`.
    """
    pixels = to_pixels(images)
    count = len(pixels)
    columns = int(np.ceil(np.sqrt(count))) if columns is None else columns
    for name, value, least in [("images", count, 1), ("columns", columns, 1), ("scale", scale, 1), ("gap", gap, 0)]:
        if value < least:
            raise PatchMosaicError(f"{name} must be at least {least}", got=value)
    columns = min(columns, count)
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = pixels.shape[1] + gap, pixels.shape[2] + gap
    rows = -(-count // columns)
    canvas = np.full((rows * height - gap, columns * width - gap, *pixels.shape[3:]), GAP_VALUE, np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * height, i % columns * width
        canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def png_bytes(pixels: UInt8[np.ndarray, "H W *rgb"]) -> bytes:
    """One picture as the bytes of a PNG file, losslessly."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def save_png(
    path: str | Path, images: Float[Tensor, "n C H W"], columns: int | None = None, *, gap: int = 1, scale: int = 1
) -> Path:
    """Write `tile(images, columns, gap=gap, scale=scale)` as a PNG file, whole or not at all. Errors as for `tile`."""
    encoded = png_bytes(tile(images, columns, gap=gap, scale=scale))
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(encoded)
    return Path(path)
