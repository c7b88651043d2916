"""Questions for ways of computing the softmax over patches, and what their answers are judged by."""

import numpy as np
import torch


def question(seed):
    """Two random queries, their precision, 8-bit images of random size, some of them twice, and an index or none.

    Noise goes down to 1e-3. Returned with the random generator, for whatever else a test draws.
    """
    rng = np.random.default_rng(seed)
    channels, height, width = int(rng.choice([1, 2, 3])), int(rng.integers(3, 12)), int(rng.choice([3, 5, 8, 13]))
    stored = torch.from_numpy(rng.integers(0, 256, (int(rng.choice([1, 2, 5, 19])), channels, height, width), dtype=np.uint8))
    if seed % 3 == 0:
        stored = stored.repeat(2, 1, 1, 1)
    index = torch.from_numpy(rng.permutation(len(stored))[: max(1, len(stored) - 1)]) if seed % 2 else None
    sigma = 10.0 ** rng.uniform(-3 if seed % 4 == 0 else -1, 1)
    y = rng.standard_normal((2, channels, height, width)) * sigma + as_pixels(stored[:1])
    return rng, (torch.from_numpy(y), torch.full((2,), sigma**-2, dtype=torch.float64), stored, index)


def competing_images(seed, sigma):
    """A query, its precision and images that differ by less than the noise: several patches of a place compete at any noise."""
    rng = np.random.default_rng(seed)
    base = np.kron(rng.uniform(-1, 1, (1, 3, 4, 4)), np.ones((3, 3)))
    images = torch.from_numpy(base + 0.3 * sigma * rng.uniform(-1, 1, (12, 3, 12, 12))).float()
    y = torch.from_numpy(base + sigma * rng.standard_normal(base.shape)).float()
    return y, torch.tensor([sigma**-2], dtype=torch.float64), images


def a_hair_apart():
    """The same of two nearly equal images at low noise: their weights hang on the last bits of a distance."""
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, 3, 9, 9, generator=generator) * 2 - 1
    images = torch.cat([image, image + 2e-3 * torch.randn(image.shape, generator=generator)])
    return images.mean(0, keepdim=True), torch.tensor([1e6], dtype=torch.float64), images


def as_pixels(stored):
    """The numbers that bytes mean, as a NumPy array."""
    return (stored.numpy().astype(np.float32) / np.float32(127.5) - np.float32(1)).astype(np.float64)


def relative_error(mean, expected):
    return float(np.linalg.norm(mean.numpy() - expected) / np.linalg.norm(expected))
