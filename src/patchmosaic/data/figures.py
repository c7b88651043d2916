"""Figures with a known number of limbs, drawn by rule: hands, stick figures, trousers.

A figure is a union of capsules, each the points within r of a segment ab. With p's nearest point on the segment,

    d(p) = min over capsules of ‖p - a - h (b - a)‖ - r,        h = clamp((p - a)·(b - a) / ‖b - a‖², 0, 1),

is the signed distance to its outline, and a pixel whose centre is d pixels outside is covered to clamp(1/2 - d, 0, 1). So edges
are antialiased at every size, and the same figure can be drawn at any. It is light on black.

    hands            a palm with five fingers
    stick figures    head and trunk with two arms and two legs: four limbs
    trousers         hips with two legs

Each figure depends on the seed and its number alone. Pose, lengths, thickness, position and grey vary; limbs stay apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from patchmosaic.data.imageset import ImageSet
from patchmosaic.data.records import Index, Pixels, Records
from patchmosaic.data.splits import no_such_split
from patchmosaic.errors import DataError, ShapeError
from patchmosaic.progress import Progress, silent

PREFIX = "figures:"
SMALLEST = 24  # pixels a side: below, the gaps between fingers are gone
SIDE, COUNT = 32, 10_000  # of the figures that `load` gives
SPLITS = {"train": 0, "test": 1}  # seeds
GREYS = (0.75, 1.0)  # how light a figure is, of white

# Capsules in units of the image's side, x to the right and y down: (n, 5) of ax, ay, bx, by, r.
Capsules = Float64[np.ndarray, "n 5"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """A kind of figure: how many limbs it has, and how one is drawn by lot, upright and in the middle."""

    limbs: int
    capsules: Callable[[np.random.Generator], list[tuple[Point, Point, float]]]


def figures(kind: str | Sequence[str], count: int, image_size: int = SIDE, seed: int = 0) -> ImageSet:
    """Figures of one kind, or of several in turn; then the labels tell which.

    Args:
        kind: "hands", "stick figures", "trousers", or several of them.
        image_size: pixels a side, at least 24.
        seed: which independent stream of figures; figure i of a stream is the same whatever `count`.

    Returns:
        8-bit images of one channel, -1 where there is nothing; the outlines of a figure are the same at every size.

    Raises:
        DataError: no such kind, or no figures.
        ShapeError: a size at which limbs would run together.
    """
    kinds = checked_kinds([kind] if isinstance(kind, str) else kind)
    if count < 1:
        raise DataError("there must be at least one figure", got=count)
    if image_size < SMALLEST:
        raise ShapeError("limbs run together in small images", got=image_size, hint=f"Try {SMALLEST} or more.")
    numbers = np.arange(count)
    images = torch.from_numpy(drawn(kinds, numbers, image_size, seed))[:, None]
    labels = None if len(kinds) == 1 else torch.from_numpy(numbers % len(kinds))
    return ImageSet(images, labels, class_names=() if labels is None else kinds, name=PREFIX + ",".join(kinds))


def read(name: str, split: str) -> Records:
    """The records of `figures:KIND` or `figures:KIND,KIND`: 10,000 figures of 32 x 32, drawn when they are asked for.

    Raises:
        DataError: no such kind or split.
    """
    kinds = checked_kinds(name.removeprefix(PREFIX).split(","))
    if split not in SPLITS:
        raise no_such_split(name, split, SPLITS)

    def pixels(index: Index, progress: Progress = silent) -> Pixels:
        return drawn(kinds, index, SIDE, SPLITS[split])[..., None]

    return Records(
        where=name,
        count=COUNT,
        pixels=pixels,
        origin=lambda record: f"{name}, figure {record}",
        labels=None if len(kinds) == 1 else np.arange(COUNT) % len(kinds),
        class_names=() if len(kinds) == 1 else kinds,
    )


def checked_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """`kinds`, if there are such; else DataError."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise DataError(
            "no such kind of figure", got=", ".join(map(repr, unknown)) or "none", hint=f"Known: {', '.join(KINDS)}."
        )
    return tuple(kinds)


def drawn(kinds: Sequence[str], numbers: Index, image_size: int, seed: int) -> UInt8[np.ndarray, "n H W"]:
    """The figures of these numbers."""
    images = np.empty((len(numbers), image_size, image_size), dtype=np.uint8)
    for image, number in zip(images, numbers.tolist(), strict=True):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        capsules = _placed(KINDS[kinds[number % len(kinds)]].capsules(rng), rng)
        image[:] = np.rint(255 * rng.uniform(*GREYS) * coverage(capsules, image_size))
    return images


def coverage(capsules: Capsules, image_size: int) -> Float64[np.ndarray, "H W"]:
    """The share of each pixel that the union of the capsules covers, from the distance of its centre to the outline."""
    centres = (np.arange(image_size) + 0.5) / image_size
    p = np.stack(np.meshgrid(centres, centres), -1)[:, :, None]  # (H, W, 1, xy)
    a, b, radius = capsules[:, 0:2], capsules[:, 2:4], capsules[:, 4]
    along = ((p - a) * (b - a)).sum(-1) / np.maximum(((b - a) ** 2).sum(-1), 1e-12)  # (H, W, n)
    nearest = a + along.clip(0, 1)[..., None] * (b - a)
    distance = (np.hypot(*np.moveaxis(p - nearest, -1, 0)) - radius).min(-1)
    share: Float64[np.ndarray, "H W"] = (0.5 - distance * image_size).clip(0, 1)
    return share


def _placed(capsules: list[tuple[Point, Point, float]], rng: np.random.Generator) -> Capsules:
    """Turned, scaled and shifted a little, about the middle of the image."""
    angle, scale, shift = rng.uniform(-0.2, 0.2), rng.uniform(0.92, 1.05), rng.uniform(-0.03, 0.03, 2)
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    ends = np.array([[a, b] for a, b, _ in capsules])  # (n, ends, xy)
    moved = (ends - 0.5) @ turn.T + 0.5 + shift
    return np.concatenate([moved.reshape(-1, 4), scale * np.array([[radius] for *_, radius in capsules])], 1)


def _hand(rng: np.random.Generator) -> list[tuple[Point, Point, float]]:
    """Four fingers fan out from the top of the palm, the thumb to one side; left hands and right hands."""
    palm, thickness, side = rng.uniform(0.15, 0.18), rng.uniform(0.034, 0.043), rng.choice([-1.0, 1.0])
    centre = (0.5, 0.61)
    angles = side * (rng.uniform(0.45, 0.5) * np.arange(-1.5, 2) + rng.uniform(-0.04, 0.04, 4) - 0.12)
    lengths = rng.uniform(0.22, 0.26) * np.array([0.85, 1.0, 0.97, 0.75]) * rng.uniform(0.93, 1.07, 4)
    thumb, thumb_length = -side * rng.uniform(1.5, 1.75), rng.uniform(0.13, 0.16)
    parts = [(centre, (0.5, 0.66), palm)]
    for angle, length in zip([*angles, thumb], [*lengths, thumb_length], strict=True):
        parts.append((centre, _reached(centre, math.pi - angle, palm + length), thickness))
    return parts


def _stick_figure(rng: np.random.Generator) -> list[tuple[Point, Point, float]]:
    """Arms and legs bend at elbow and knee; hands stay away from head and legs."""
    trunk, head, thickness = rng.uniform(0.08, 0.09), rng.uniform(0.085, 0.1), rng.uniform(0.03, 0.038)
    neck, hip = (0.5, 0.38), (0.5, 0.55)
    parts = [(neck, hip, trunk), ((0.5, 0.38 - trunk - 0.55 * head), (0.5, 0.38 - trunk - 0.55 * head), head)]
    for side in (-1.0, 1.0):
        arm, forearm = rng.uniform(0.12, 0.14), rng.uniform(0.11, 0.13)
        angle = rng.uniform(0.95, 1.85)
        shoulder = (0.5 + side * 0.5 * trunk, 0.39)
        elbow = _reached(shoulder, side * angle, 0.5 * trunk + arm)
        parts += [
            (shoulder, elbow, thickness),
            (elbow, _reached(elbow, side * (angle + rng.uniform(-0.4, 0.5)), forearm), thickness),
        ]
        thigh, shin = rng.uniform(0.15, 0.17), rng.uniform(0.13, 0.15)
        angle = rng.uniform(0.3, 0.55)
        start = (0.5 + side * 0.45 * trunk, 0.57)
        knee = _reached(start, side * angle, thigh)
        parts += [(start, knee, thickness), (knee, _reached(knee, side * (angle + rng.uniform(-0.35, 0.2)), shin), thickness)]
    return parts


def _trousers(rng: np.random.Generator) -> list[tuple[Point, Point, float]]:
    """Two legs that part below the hips, from narrow to wide."""
    hips, half_width, thickness = rng.uniform(0.12, 0.14), rng.uniform(0.06, 0.08), rng.uniform(0.05, 0.062)
    top, spread = rng.uniform(0.22, 0.27), rng.uniform(0.02, 0.08)
    bottom, inset = rng.uniform(0.8, 0.88), half_width + hips - thickness
    parts = [((0.5 - half_width, top), (0.5 + half_width, top), hips)]
    for side in (-1.0, 1.0):
        foot = 0.5 + side * (inset + spread + rng.uniform(-0.01, 0.01))
        parts.append(((0.5 + side * inset, top + 0.02), (foot, bottom + rng.uniform(-0.02, 0.02)), thickness))
    return parts


def _reached(start: Point, angle: float, length: float) -> Point:
    """The point at a distance from another; angle 0 is down, and it grows to the right."""
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)


KINDS = {"hands": Kind(5, _hand), "stick figures": Kind(4, _stick_figure), "trousers": Kind(2, _trousers)}
