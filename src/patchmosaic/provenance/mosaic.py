"""Mosaic: a sample cut into the pieces that it takes from training images.

Each pixel p is given to its likeliest source, the centre (n, q) of a training patch. A *region* is a 4-connected set of pixels
whose sources belong together:

    by "image"        n is the same
    by "placement"    n and the displacement q - p are the same: one coherent piece of an image, pasted

Everything lies in the plane of the picture, for the machines on a torus too: a region ends at the border of the sample, and a
piece at the border of its source, as it does for the eye. Of equally likely sources the first of the pool is taken: pixels
that cannot decide between equal patches, as in an empty background, all name the same image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Bool, Float64, Int64
from scipy import ndimage
from torch import Tensor

from patchmosaic.errors import PatchMosaicError
from patchmosaic.provenance.tracing import Provenance

By = Literal["image", "placement"]
SETTLED = 0.5  # a source with more of the belief than this outweighs all others together


@dataclass(frozen=True, eq=False)
class Mosaic:
    """The likeliest source of every pixel of one sample, and the regions that they form.

    Attributes:
        image, row, column: (H, W), the source: position in the pool, and the pixel of that image.
        weight: (H, W), the belief in it, in [0, 1].
        by: what a region has in common.
    """

    image: Int64[Tensor, "H W"]
    row: Int64[Tensor, "H W"]
    column: Int64[Tensor, "H W"]
    weight: Float64[Tensor, "H W"]
    by: By = "image"

    @classmethod
    def from_provenance(cls, provenance: Provenance, sample: int = 0, by: By = "image") -> Mosaic:
        """The mosaic of one sample of a batch.

        Raises:
            PatchMosaicError: there is no such sample.
        """
        if not 0 <= sample < len(provenance.image):
            raise PatchMosaicError(f"samples are numbered 0 to {len(provenance.image) - 1}", got=sample)
        image, row, column = (part[sample, ..., 0].cpu() for part in (provenance.image, provenance.row, provenance.column))
        return cls(image, row, column, provenance.weight[sample, ..., 0].cpu(), by)

    @cached_property
    def joined(self) -> tuple[Bool[Tensor, "H w"], Bool[Tensor, "h W"]]:
        """Which neighbours lie in one region: each pixel with the one to its right (H, W - 1), and with the one below it."""
        along = self.image.diff(dim=1) == 0
        down = self.image.diff(dim=0) == 0
        if self.by == "placement":
            along &= (self.row.diff(dim=1) == 0) & (self.column.diff(dim=1) == 1)
            down &= (self.row.diff(dim=0) == 1) & (self.column.diff(dim=0) == 0)
        return along, down

    @cached_property
    def region(self) -> Int64[Tensor, "H W"]:
        """The number of each pixel's region: 0 is the largest, of equal ones that which comes first in reading order."""
        height, width = self.image.shape
        # A grid twice as fine has a place for each pixel and one for each pair of neighbours: what is left is plain labelling.
        grid = torch.zeros(2 * height - 1, 2 * width - 1, dtype=torch.bool)
        grid[::2, ::2] = True
        grid[::2, 1::2], grid[1::2, ::2] = self.joined
        found = torch.from_numpy(ndimage.label(grid.numpy())[0][::2, ::2]).long() - 1
        by_size = found.flatten().bincount().argsort(descending=True, stable=True)
        return by_size.argsort()[found]

    @property
    def count(self) -> int:
        """How many regions there are."""
        return len(self.sizes)

    @cached_property
    def sizes(self) -> Int64[Tensor, " regions"]:
        """The pixels of each region, falling."""
        return self.region.flatten().bincount()

    @cached_property
    def sources(self) -> dict[int, float]:
        """The training images that some pixel comes from, each with its share of all pixels, falling."""
        return _shares(self.image.flatten(), self.image.numel())

    @cached_property
    def settled(self) -> Bool[Tensor, "H W"]:
        """The pixels of which one single patch has more than half of the belief. Others have no source to speak of."""
        return self.weight > SETTLED

    @cached_property
    def settled_sources(self) -> dict[int, float]:
        """The training images that some settled pixel comes from, each with the share that these are of all pixels, falling."""
        return _shares(self.image[self.settled], self.image.numel())

    @property
    def pieces(self) -> int:
        """How many regions have a settled pixel."""
        return len(self.region[self.settled].unique())

    @property
    def settled_share(self) -> float:
        """The share of settled pixels."""
        return float(self.settled.double().mean())

    @cached_property
    def boundary(self) -> Int64[Tensor, "edges 2 2"]:
        """The pixel edges between regions, each by its two ends (row, column); a pixel's upper left corner has its numbers."""
        along, down = self.joined
        return _edges(~along, ~down)

    @cached_property
    def settled_boundary(self) -> Int64[Tensor, "edges 2 2"]:
        """Those edges of the boundary that have a settled pixel on at least one side."""
        (along, down), sure = self.joined, self.settled
        return _edges(~along & (sure[:, :-1] | sure[:, 1:]), ~down & (sure[:-1] | sure[1:]))

    def summary(self) -> dict[str, float | int]:
        """Number and sizes of regions and sources, JSON-able."""
        return {
            "regions": self.count,
            "largest_region": int(self.sizes[0]),
            "median_region": float(self.sizes.double().quantile(0.5)),
            "images": len(self.sources),
            "settled_share": self.settled_share,
            "pieces": self.pieces,
            "settled_images": len(self.settled_sources),
        }

    def __str__(self) -> str:
        pieces, images = self.pieces, len(self.settled_sources)
        return f"{pieces:,} pieces of {images:,} training images make {self.settled_share:.0%} of the pixels"


def _edges(along: Bool[Tensor, "H w"], down: Bool[Tensor, "h W"]) -> Int64[Tensor, "edges 2 2"]:
    """The edges to the right of the pixels in `along`, and below those in `down`."""
    right, below = (mask.nonzero() for mask in (along, down))
    corners = [right + torch.tensor([0, 1]), right + 1, below + torch.tensor([1, 0]), below + 1]
    return torch.cat([torch.stack(corners[:2], 1), torch.stack(corners[2:], 1)])


def _shares(images: Int64[Tensor, " n"], pixels: int) -> dict[int, float]:
    found, counts = images.unique(return_counts=True)
    return {int(found[i]): int(counts[i]) / pixels for i in counts.argsort(descending=True, stable=True)}
