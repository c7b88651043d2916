"""A comparison, calibrations and variants made by hand, whose numbers numpy can tell."""

import numpy as np
import torch

from patchmosaic.calibration import Calibration
from patchmosaic.comparison import Comparison
from patchmosaic.locality import LocalityScale
from patchmosaic.plots import DensityResult, PointsResult, VariantResult

MIXTURES = {"IS": 1.2, "Wiener": 0.9, "LS": 0.7, "ELS": 0.5}
LEVELS = (0.1, 1.0, 10.0)
VARIANTS = [("base", "base"), ("padding", "circular"), ("blocks", "2"), ("blocks", "3"), ("closed form", "a $name$ of words")]


def make_comparison(channels=1, count=7, labelled=True, mixtures=MIXTURES):
    rng = np.random.default_rng(channels)
    truth = rng.uniform(-1, 1, (count, channels, 5, 4))
    images = {
        name: torch.from_numpy((truth + share * rng.standard_normal(truth.shape)).astype(np.float32))
        for name, share in mixtures.items()
    }
    labels = torch.arange(count) % 3 if labelled else None
    seeds = tuple(range(10, 10 + count))
    return Comparison(seeds, labels, 20, 150, torch.from_numpy(truth.astype(np.float32)), images)


def r_of(comparison, name):
    """r of each seed, from numpy.corrcoef."""
    pairs = zip(comparison.images[name], comparison.network_images, strict=True)
    return np.array([np.corrcoef(p.double().flatten(), y.double().flatten())[0, 1] for p, y in pairs])


def make_calibration(machine="ELS", seed=0, seeds=9, steps=6):
    rng = np.random.default_rng(seed)
    sizes = (3, 5, 7, 9, 11)
    cosine = rng.uniform(0, 1, (seeds, steps, len(sizes)))
    levels = tuple(float(level) for level in np.geomspace(0.02, 30, steps))
    median = np.median(np.array(sizes)[cosine.argmax(-1)], axis=0).astype(int)
    return Calibration(machine, LocalityScale(levels, tuple(median.tolist())), levels, sizes, torch.from_numpy(cosine))


def make_variants(channels=1):
    results = []
    for i, (factor, name) in enumerate(VARIANTS):
        images = 2 * torch.rand((5, channels, 8, 8), generator=torch.Generator().manual_seed(i)) - 1
        test_errors = [0.1 + 0.01 * i, 0.2 + 0.03 * i, 0.3]
        train_errors = [error / 1.5 for error in test_errors]
        numbers = (0.9 - 0.1 * i, 0.5 + 0.1 * i, 0.2 + 0.07 * i)
        results.append(VariantResult(factor, name, f"{factor}: {name}", images, *numbers, train_errors, test_errors))
    return results


EDGES = np.linspace(-2.0, 2.0, 17)


def make_densities(titles=("one", "a $law$ of many words")):
    """Samples of N(0, 1/4) with bins of equal probability predicted; the target is triangular."""
    rng = np.random.default_rng(0)
    target = np.minimum(np.arange(1.0, 17), np.arange(16.0, 0, -1))
    return [
        DensityResult(title, rng.normal(0, 0.5, 300), np.full(16, 1 / 16), target / target.sum(), 0.125 * (i + 1))
        for i, title in enumerate(titles)
    ]


def make_points(titles=("dots", "one $spot$")):
    rng = np.random.default_rng(0)
    spread, spot = rng.normal(0, 1, (200, 2)), np.full((200, 2), 0.5)
    return [PointsResult(titles[0], spread), PointsResult(titles[1], spot, np.eye(2), "off by 0.5")]
