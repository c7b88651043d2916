"""ImageSet: a pool of training images, checked once so that nothing downstream has to.

The images are numbers in [-1, 1], shaped (N, C, H, W), stored as float32 or as bytes u that stand for u / 127.5 - 1. They may
be mapped from a file larger than the memory: what looks at all of them looks at a block at a time. Labels, where there are any,
are int64, shaped (N,). A content hash names the pool in manifests and checkpoints: equal hash, equal pool, however stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from patchmosaic.engine.memory import as_numbers, scanned
from patchmosaic.errors import DataError, LabelError, ShapeError, ValueRangeError

LABELS_AT_ONCE = 2**20


class ImageSet:
    """Images with optional class labels.

    Args:
        images: (N, C, H, W), floating point, finite, in [-1, 1]; or uint8, of which 0 is -1 and 255 is 1. Contiguous
            uint8 and float32 images on the CPU are kept as they are, without a copy.
        labels: (N,) integers, or None.
        class_names: the name of class i at index i; for display only.
        name: what to call the set in reports.

    Attributes:
        stored: (N, C, H, W), the images as they are kept: contiguous uint8 or float32. Not to be written to.

    Raises:
        ShapeError: not four dimensions, or labels of another length.
        DataError: no images.
        ValueRangeError: a value is not finite or outside [-1, 1], or whole numbers other than uint8.
        LabelError: labels that are not whole numbers from 0 up.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor | Sequence[int] | None = None,
        *,
        class_names: Sequence[str] = (),
        name: str = "images",
    ) -> None:
        self.stored: Float32[Tensor, "N C H W"] | UInt8[Tensor, "N C H W"] = _checked_images(torch.as_tensor(images))
        self.labels: Int64[Tensor, " N"] | None = None
        if labels is not None:
            self.labels = _checked_labels(torch.as_tensor(labels), len(self.stored))
        self.class_names = tuple(class_names)
        self.name = name

    def __len__(self) -> int:
        return len(self.stored)

    def __repr__(self) -> str:
        shape = "x".join(str(size) for size in self.image_shape)
        classes = f", {len(self.classes)} classes" if self.labels is not None else ""
        return f"ImageSet({self.name}: {len(self):,} images of {shape}{classes})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.stored.shape
        return channels, height, width

    @property
    def images(self) -> Float32[Tensor, "N C H W"]:
        """All images as float32 numbers: for 8-bit images a new tensor, four times as large. `at` gives some of them."""
        return as_numbers(self.stored)

    def at(self, index: Tensor | slice, dtype: torch.dtype = torch.float32) -> Float[Tensor, "n C H W"]:
        """The images at `index` (int64 positions, a boolean mask or a slice) as numbers of a floating-point type."""
        return as_numbers(self.stored[index], dtype)

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """The labels that occur, in order; empty where the set has none."""
        return tuple(sorted({label for part in self._label_blocks() for label in part.unique().tolist()}))

    def of_class(self, label: int) -> Int64[Tensor, " n"]:
        """The positions of the images of a class, in order; none where the set has no labels."""
        found = [LABELS_AT_ONCE * i + (part == label).nonzero()[:, 0] for i, part in enumerate(self._label_blocks())]
        return torch.cat([torch.empty(0, dtype=torch.int64), *found])

    def _label_blocks(self) -> Sequence[Tensor]:
        return () if self.labels is None else self.labels.split(LABELS_AT_ONCE)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of shape, pixels and labels, as 16 hexadecimal digits."""
        digest = hashlib.sha256(repr(tuple(self.stored.shape)).encode())
        for block in scanned(self.stored):
            digest.update(block.numpy().data)
        if self.labels is not None:
            digest.update(self.labels.numpy().data)
        return digest.hexdigest()[:16]

    def subset(self, index: Tensor) -> ImageSet:
        """A copy of the images at `index` (int64 positions or a boolean mask), in that order."""
        labels = None if self.labels is None else self.labels[index]
        return ImageSet(self.stored[index], labels, class_names=self.class_names, name=self.name)

    def split(self, held_out: int, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """(training, held out): `held_out` images drawn without replacement by `seed`; both keep the set's order.

        Raises:
            DataError: nothing would be left to train on.
        """
        if not 0 < held_out < len(self):
            raise DataError(
                "a split must leave images on both sides",
                got=f"{held_out} held out of {len(self)}",
                hint="Hold out fewer.",
            )
        chosen = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:held_out]
        mask = torch.zeros(len(self), dtype=torch.bool)
        mask[chosen] = True
        return self.subset(~mask), self.subset(mask)


def _checked_images(images: Tensor) -> Tensor:
    if images.ndim != 4:
        raise ShapeError(
            "images must be (N, C, H, W)", got=tuple(images.shape), hint="Grey images have C = 1: images[:, None]."
        )
    if images.shape[0] == 0 or images.numel() == 0:
        raise DataError("the set has no images", got=tuple(images.shape))
    if images.dtype == torch.uint8:
        return images.detach().cpu().contiguous()
    if not images.is_floating_point():
        raise ValueRangeError(
            "images must be floating point in [-1, 1], or uint8", got=images.dtype, hint="For 0 to 255: images.to(torch.uint8)."
        )
    images = images.detach().to("cpu", torch.float32).contiguous()
    low, high = images.aminmax()
    if not (torch.isfinite(low) and torch.isfinite(high)):
        bad = torch.cat([~torch.isfinite(block).flatten(1).all(1) for block in scanned(images)])
        raise ValueRangeError("images must be finite", got=f"NaN or infinity in image {int(bad.nonzero()[0])}")
    if low < -1.0001 or high > 1.0001:
        raise ValueRangeError(
            "images must lie in [-1, 1]",
            got=f"[{low:.4g}, {high:.4g}]",
            hint="For values in [0, 255]: images / 127.5 - 1; in [0, 1]: 2 * images - 1.",
        )
    return images


def _checked_labels(labels: Tensor, count: int) -> Tensor:
    if labels.shape != (count,):
        raise ShapeError("labels must be one a image, (N,)", got=f"{tuple(labels.shape)} for {count} images")
    if labels.is_floating_point() or labels.dtype == torch.bool or bool(labels.min() < 0):
        raise LabelError("labels must be whole numbers from 0 up", got=f"{labels.dtype}, smallest {labels.min().item()}")
    return labels.detach().to("cpu", torch.int64).contiguous()
