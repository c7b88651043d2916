"""What the engine is measured on: images, the machines beside their naive counterparts, and published patch sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

import naive
import patchmosaic as pm
from patchmosaic.experiments.papers.published import SCALES as PUBLISHED

STEPS = 20

# Published locality scales: entry i is the patch size at t = (i + 1) / 20. By channels: colour images take those of CIFAR-10,
# grey ones those of MNIST.
_KINDS = {"ResNet, zero padding": "ResNet", "ResNet, circular": "ResNet circular", "UNet": "UNet"}
SCALES = {
    channels: {kind: PUBLISHED[f"{data} {network}"] for kind, network in _KINDS.items()}
    for channels, data in {3: "CIFAR", 1: "MNIST"}.items()
}


@dataclass(frozen=True)
class Machine:
    """How to build a machine, its naive counterparts by name, and how many pairs of rows it admits for a side and radius."""

    build: Callable[[pm.ImageSet, int], Callable]
    naive: dict[str, Callable]
    rows: Callable[[int, int], int]

    def pairs(self, side, patch_size):
        """Pairs of a pixel and a patch of one training image: every rule holds for rows and columns separately."""
        return self.rows(side, patch_size // 2) ** 2


MACHINES = {
    "ELS": Machine(
        partial(pm.EquivariantLocalDenoiser, training_padding="valid"),
        {name: partial(naive.equivariant_local, way=way) for name, way in naive.WAYS.items()},
        lambda side, radius: side * (side - 2 * radius),
    ),
    "bbELS": Machine(
        pm.BoundaryBrokenDenoiser,
        {name: partial(naive.boundary_broken, way=way) for name, way in naive.WAYS.items()},
        lambda side, radius: (side - 2 * radius) ** 2 + 2 * radius,
    ),
    "LS": Machine(pm.LocalDenoiser, {"unfolding": naive.local}, lambda side, radius: side),
}


@dataclass(frozen=True)
class Data:
    """A pool, and images that are not in it."""

    pool: pm.ImageSet
    held_out: torch.Tensor

    @property
    def scales(self):
        return SCALES[self.pool.image_shape[0]]

    def first(self, count):
        return self.pool.subset(torch.arange(min(count, len(self.pool))))

    def noisy(self, t, count=1):
        """x_t of held-out images."""
        alpha, sigma = scales_at(t)
        return alpha * self.held_out[:count] + sigma * pm.seeds(count, self.pool.image_shape)

    def times(self, patch_size):
        """Every t at which a published scale has this patch size, in order."""
        return sorted({(i + 1) / STEPS for scale in self.scales.values() for i, size in enumerate(scale) if size == patch_size})


def scales_at(t):
    return tuple(float(scale) for scale in pm.noise.CosineSchedule()(t))


def load_data(names, limit):
    """{name: Data} of the sets named, or of the real ones that are found, or of smooth noise."""
    found = [name for name in ("cifar10", "mnist") if name in pm.data.found()]
    chosen = names.split(",") if names else found or ["synthetic"]
    if chosen == ["synthetic"]:
        return {f"synthetic, {channels}": synthetic(channels, limit or 8192) for channels in (3, 1)}
    return {name: Data(pm.data.load(name, limit=limit), pm.data.load(name, split="test", limit=64).images) for name in chosen}


def synthetic(channels, count, side=32):
    """Smooth images: like real ones, they have near matches at every patch size."""
    noise = pm.seeds(count + 64, (channels, side, side), seed=7)
    images = torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2).mul(3).clamp(-1, 1)
    return Data(pm.ImageSet(images[64:], name="synthetic, smooth noise"), images[:64])
