"""ImageSet: a pool of training images, checked once so that nothing downstream has to.

The images are float32 in [-1, 1], shaped (N, C, H, W); labels, where there are any, are int64, shaped (N,). A content hash
names the pool in manifests and checkpoints: equal hash, equal pool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from patchmosaic.errors import DataError, LabelError, ShapeError, ValueRangeError


class ImageSet:
    """Images with optional class labels.

    Args:
        images: (N, C, H, W), floating point, finite, in [-1, 1].
        labels: (N,) integers, or None.
        class_names: the name of class i at index i; for display only.
        name: what to call the set in reports.

    Raises:
        ShapeError: not four dimensions, or labels of another length.
        DataError: no images.
        ValueRangeError: a value is not finite or outside [-1, 1] (uint8 images: divide by 127.5 and subtract 1).
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
        self.images: Float32[Tensor, "N C H W"] = _checked_images(torch.as_tensor(images))
        self.labels: Int64[Tensor, " N"] | None = None
        if labels is not None:
            self.labels = _checked_labels(torch.as_tensor(labels), len(self.images))
        self.class_names = tuple(class_names)
        self.name = name

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "x".join(str(size) for size in self.image_shape)
        classes = f", {len(self.classes)} classes" if self.labels is not None else ""
        return f"ImageSet({self.name}: {len(self):,} images of {shape}{classes})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """The labels that occur, in order; empty where the set has none."""
        return () if self.labels is None else tuple(int(label) for label in self.labels.unique())

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of shape, pixels and labels, as 16 hexadecimal digits."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().data)
        if self.labels is not None:
            digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def subset(self, index: Tensor) -> ImageSet:
        """The images at `index` (int64 positions or a boolean mask), in that order."""
        labels = None if self.labels is None else self.labels[index]
        return ImageSet(self.images[index], labels, class_names=self.class_names, name=self.name)

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
    if not images.is_floating_point():
        raise ValueRangeError(
            "images must be floating point in [-1, 1]", got=images.dtype, hint="For 8-bit images: images / 127.5 - 1."
        )
    images = images.detach().to("cpu", torch.float32).contiguous()
    low, high = images.aminmax()
    if not (torch.isfinite(low) and torch.isfinite(high)):
        bad = int((~torch.isfinite(images)).flatten(1).any(1).nonzero()[0])
        raise ValueRangeError("images must be finite", got=f"NaN or infinity in image {bad}")
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
    if labels.is_floating_point() or labels.dtype == torch.bool or bool((labels < 0).any()):
        raise LabelError("labels must be whole numbers from 0 up", got=f"{labels.dtype}, smallest {labels.min().item()}")
    return labels.detach().to("cpu", torch.int64).contiguous()
