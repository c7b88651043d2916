"""What the explorer tells its page: JSON messages, each an object of one entry whose key says what it is.

    {"progress": {"what": ..., "done": ..., "total": ...}}      {"step": {...}}      {"error": "what was wrong"}

Arrays travel as the base64 of their little-endian bytes: a page reads them without parsing numbers, and weights keep all digits
of float32.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from patchmosaic.plots.grid import to_pixels

Message = dict[str, Any]

TYPES = {"u1": np.uint8, "i4": np.int32, "f4": np.float32}


def packed(array: Shaped[Tensor, "*shape"] | Shaped[np.ndarray, "*shape"], kind: str) -> dict[str, Any]:
    """An array as JSON: its type ("u1", "i4" or "f4"), its shape, and its bytes in base64."""
    values = np.ascontiguousarray(np.asarray(array), dtype=np.dtype(TYPES[kind]).newbyteorder("<"))
    return {"type": kind, "shape": list(values.shape), "data": base64.b64encode(values.tobytes()).decode("ascii")}


def unpacked(record: dict[str, Any]) -> Shaped[np.ndarray, "*shape"]:
    """The array that `packed` packed."""
    values = np.frombuffer(base64.b64decode(record["data"]), np.dtype(TYPES[record["type"]]).newbyteorder("<"))
    return values.reshape(record["shape"])


def picture(image: Float[Tensor, "C H W"]) -> dict[str, Any]:
    """An image in [-1, 1] as 8-bit pixels, (H, W) grey or (H, W, 3)."""
    return packed(to_pixels(image[None])[0], "u1")


def line(message: Message) -> bytes:
    """A message as one line of text. NaN and infinity are refused: they are not JSON."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
