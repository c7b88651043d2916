"""The published numbers: Kamb & Ganguli, "An analytic theory of creativity in convolutional diffusion models", ICML 2025.

`TABLE` is table 1 (arXiv 2412.20292): medians over 100 seeds of the Pearson correlation r of an image and the network's, with
the network at 20 and at 150 steps and the machines at 20. The table says r²; the code that made it computes r. What it calls
ELS is bbELS where the network pads with zeros, and ELS where it is circular.

`SCALES` are the calibrated patch sizes of the paper's appendix and code, the lowest noise first: entry i belongs to
t = (i + 1) / 20 of the cosine schedule.

Both are keyed by the title of a row; zero padding where it says nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "Kamb & Ganguli 2025, arXiv 2412.20292"


@dataclass(frozen=True)
class Medians:
    """One line of the table at one number of network steps: median r, and the share of seeds on which (E)LS beats IS."""

    els: float
    ls: float
    ideal: float
    beats_ideal: float


def _line(at_150: tuple[float, float, float, float], at_20: tuple[float, float, float, float]) -> dict[int, Medians]:
    return {20: Medians(*at_20), 150: Medians(*at_150)}


TABLE: dict[str, dict[int, Medians]] = {
    "MNIST UNet": _line((0.89, 0.88, 0.70, 0.93), (0.84, 0.83, 0.69, 0.92)),
    "CIFAR UNet": _line((0.90, 0.87, 0.41, 0.92), (0.82, 0.80, 0.39, 0.99)),
    "Fashion UNet": _line((0.93, 0.93, 0.80, 1.00), (0.91, 0.91, 0.80, 0.90)),
    "CelebA UNet": _line((0.85, 0.90, 0.55, 1.00), (0.75, 0.81, 0.51, 1.00)),
    "MNIST ResNet": _line((0.94, 0.82, 0.61, 1.00), (0.94, 0.84, 0.62, 0.97)),
    "MNIST ResNet circular": _line((0.77, 0.36, 0.15, 0.92), (0.73, 0.33, 0.14, 0.99)),
    "CIFAR ResNet": _line((0.95, 0.90, 0.42, 1.00), (0.90, 0.86, 0.43, 1.00)),
    "CIFAR ResNet circular": _line((0.94, 0.83, 0.35, 1.00), (0.90, 0.80, 0.36, 1.00)),
    "Fashion ResNet": _line((0.94, 0.88, 0.68, 1.00), (0.90, 0.88, 0.74, 0.97)),
    "CelebA ResNet": _line((0.96, 0.90, 0.47, 1.00), (0.92, 0.88, 0.48, 1.00)),
    "CIFAR UNet+SA": _line((0.77, 0.77, 0.48, 0.95), (0.75, 0.74, 0.47, 0.92)),
}

SCALES: dict[str, tuple[int, ...]] = {
    "CIFAR ResNet": (3, 3, 3, 3, 5, 5, 5, 7, 7, 7, 7, 9, 9, 11, 11, 13, 15, 17, 17, 17),
    "CIFAR ResNet circular": (3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15, 15),
    "CIFAR UNet": (3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7, 9, 9, 11, 13, 13, 15, 17, 25),
    "CelebA ResNet": (3, 3, 3, 5, 5, 5, 5, 5, 7, 7, 9, 9, 9, 11, 11, 11, 13, 15, 19, 19),
    "CelebA UNet": (3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 7, 7, 9, 9, 9, 13, 19, 27),
    "Fashion ResNet": (3, 3, 5, 5, 7, 7, 9, 9, 9, 11, 11, 11, 13, 13, 13, 15, 15, 15, 17, 17),
    "Fashion UNet": (3, 3, 5, 5, 7, 7, 7, 9, 11, 11, 11, 13, 15, 15, 21, 23, 25, 25, 25, 25),
    "MNIST ResNet": (3, 3, 5, 5, 5, 7, 7, 7, 9, 9, 11, 11, 11, 11, 13, 15, 15, 15, 15, 15),
    "MNIST ResNet circular": (3, 3, 5, 5, 5, 7, 7, 9, 9, 9, 11, 11, 11, 11, 9, 9, 7, 7, 3, 3),
    "MNIST UNet": (3, 3, 3, 5, 5, 7, 7, 7, 9, 9, 9, 11, 13, 15, 17, 21, 23, 23, 25, 27),
}
