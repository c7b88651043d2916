"""What the ways of answering cost on this computer, measured: a call, and so much more for each image."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

LONG_ENOUGH = 0.1  # seconds of work that are believed


@dataclass(frozen=True)
class Cost:
    """Seconds a call, and seconds an image."""

    call: float
    image: float

    def __call__(self, images: int) -> float:
        """Seconds of one call that looks at so many images."""
        return self.call + self.image * images

    def images(self, seconds: float) -> int:
        """How many images one call can look at in so many seconds."""
        return max(0, int((seconds - self.call) / max(self.image, 1e-12)))


def measured(work: Callable[[int], object], least: int, most: int, device: torch.device) -> Cost:
    """Time `work(n)` for `least` images, and for as many up to `most` as last long enough to tell what an image costs."""
    work(least)  # what only a first call does
    few = min(_seconds(work, least, device) for _ in range(3))
    images, many = least, few
    while many < LONG_ENOUGH and images < most:
        images = min(2 * images, most)
        many = min(_seconds(work, images, device) for _ in range(2))
    image = max(0.0, many - few) / (images - least) if images > least else few / least
    return Cost(max(0.0, few - least * image), image)


def _seconds(work: Callable[[int], object], images: int, device: torch.device) -> float:
    began = _now(device)
    work(images)
    return _now(device) - began


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
