"""The machines beside their oracles, and the pools that the tests of this folder share."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import (
    BoundaryBrokenDenoiser,
    Denoiser,
    EquivariantDenoiser,
    EquivariantLocalDenoiser,
    IdealDenoiser,
    LocalDenoiser,
    WienerDenoiser,
)
from patchmosaic.engine import oracle


@dataclass(frozen=True)
class Machine:
    """`build(pool, patch_size, **options)` and the oracle's `truth(x, images, alpha, sigma, patch_size)`."""

    build: Callable[..., Denoiser]
    truth: Callable[..., np.ndarray]
    has_patch_size: bool = True


def _global(kind, truth):
    return Machine(lambda pool, patch_size, **options: kind(pool, **options), lambda *a: truth(*a[:4]), False)


MACHINES = {
    "IS": _global(IdealDenoiser, oracle.ideal),
    "ES": _global(EquivariantDenoiser, oracle.equivariant),
    "Wiener": _global(WienerDenoiser, oracle.wiener),
    "LS": Machine(LocalDenoiser, oracle.local),
    "ELS": Machine(EquivariantLocalDenoiser, oracle.equivariant_local),
    "ELS-valid": Machine(
        lambda pool, patch_size, **options: EquivariantLocalDenoiser(pool, patch_size, training_padding="valid", **options),
        lambda *a: oracle.equivariant_local(*a, "valid"),
    ),
    "bbELS": Machine(BoundaryBrokenDenoiser, oracle.boundary_broken),
}
POSTERIOR = [name for name in MACHINES if name != "Wiener"]
PATCH = [name for name, machine in MACHINES.items() if machine.has_patch_size]


def images(seed=0, n=5, channels=2, height=6, width=5):
    """Smooth images with texture, in [-1, 1], so that neighbouring windows are neither equal nor unrelated."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = np.cos(rows * rng.uniform(0.2, 1.5, (n, channels, 1, 1)) + columns * rng.uniform(0.2, 1.5, (n, channels, 1, 1)))
    return torch.from_numpy(0.6 * waves + 0.4 * rng.uniform(-1, 1, (n, channels, height, width))).float()


def noisy(x0, schedule, t, seed=0, dtype=torch.float64):
    """x_t of some clean images, one time each; as float32 or float64 numbers."""
    t = torch.as_tensor(t, dtype=torch.float64).expand(len(x0))
    alpha, sigma = (scale[:, None, None, None] for scale in schedule(t))
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(x0.shape)))
    return (alpha * x0.double() + sigma * noise).to(dtype)


def truth(machine, x_t, pool, schedule, t, patch_size):
    """The oracle's answer, a sample at a time, from the very numbers in `x_t`."""
    t = torch.as_tensor(t, dtype=torch.float64).expand(len(x_t))
    sizes = [patch_size] * len(x_t) if isinstance(patch_size, int) else patch_size
    pools = pool if isinstance(pool, list) else [pool] * len(x_t)
    answers = []
    for x, time, size, mine in zip(x_t, t, sizes, pools, strict=True):
        alpha, sigma = (scale.item() for scale in schedule(time))
        answers.append(MACHINES[machine].truth(x[None].double().numpy(), mine.numpy(), alpha, sigma, size))
    return np.concatenate(answers)


def relative_errors(result, expected):
    """Relative L2 error of each sample."""
    difference = np.asarray(result.double()) - expected
    return np.linalg.norm(difference.reshape(len(expected), -1), axis=1) / np.linalg.norm(
        expected.reshape(len(expected), -1), axis=1
    )


def labelled(n=6, seed=0, **shape):
    """A pool of two classes, 3 and 7, of unequal size."""
    labels = torch.tensor([3 if i % 3 == 0 else 7 for i in range(n)])
    return ImageSet(images(seed, n, **shape), labels)
