"""The counters against figures whose limbs are known, shapes drawn here, and real trousers; persistence against brute force."""

import math
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from patchmosaic.analysis.legs import count_legs
from patchmosaic.analysis.limbs import UNREADABLE, count_limbs, persistence, unwrapped
from patchmosaic.data import load
from patchmosaic.data.figures import KINDS, coverage, figures
from patchmosaic.errors import ShapeError

FRESH = 77  # a stream that nothing was chosen on


def picture(*capsules, size=32):
    return torch.from_numpy(2 * coverage(np.array(capsules), size) - 1).float()[None, None]


def star(limbs, size=32):
    """A disc with evenly spread arms."""
    angles = np.arange(limbs) * 2 * math.pi / max(limbs, 1) + 0.1
    arms = [(0.5, 0.5, 0.5 + 0.42 * math.cos(angle), 0.5 + 0.42 * math.sin(angle), 0.035) for angle in angles]
    return picture((0.5, 0.5, 0.5, 0.5, 0.17), *arms, size=size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [24, 32])
def test_known_figures_are_counted_right(kind, size):
    found = count_limbs(figures(kind, 30, size, seed=FRESH).images)
    assert (found.counts == KINDS[kind].limbs).all()
    assert found.confidence.mean() > 0.98


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("noise", "blur"), [(0.15, 0.0), (0.0, 0.6), (0.1, 0.5)])
def test_noise_and_blur_do_no_harm(kind, noise, blur):
    images = figures(kind, 20, 28, seed=FRESH).images
    images = images + noise * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    images = torch.from_numpy(ndimage.gaussian_filter(images.numpy(), (0, 0, blur, blur)))
    assert (count_limbs(images).counts == KINDS[kind].limbs).float().mean() >= 0.95


@pytest.mark.parametrize("limbs", range(1, 9))
def test_any_number_is_counted(limbs):
    assert count_limbs(star(limbs)).counts.tolist() == [limbs]


def test_the_count_does_not_depend_on_pose_or_grey():
    image = star(5)
    for other in (image.flip(2), image.flip(3), image.rot90(1, (2, 3)), 0.6 * image, 0.6 * image + 0.3):
        assert count_limbs(other).counts.tolist() == [5]


def test_a_fork_counts_twice_a_bump_does_not_and_a_limb_that_came_off_counts():
    body = (0.3, 0.5, 0.3, 0.5, 0.15)
    arm = (0.3, 0.5, 0.65, 0.5, 0.035)
    fork = [(0.65, 0.5, 0.9, 0.3, 0.035), (0.65, 0.5, 0.9, 0.7, 0.035)]
    assert count_limbs(picture(body, arm)).counts.tolist() == [1]
    assert count_limbs(picture(body, arm, *fork)).counts.tolist() == [2]
    assert count_limbs(picture(body, arm, (0.3, 0.35, 0.3, 0.35, 0.045))).counts.tolist() == [1]
    assert count_limbs(picture(body, arm, (0.3, 0.85, 0.55, 0.85, 0.035))).counts.tolist() == [2]


def test_what_is_no_figure_is_unreadable():
    generator = torch.Generator().manual_seed(0)
    blank, noise = torch.full((1, 1, 32, 32), -1.0), torch.randn((1, 1, 32, 32), generator=generator).clamp(-1, 1)
    blob, oval = picture((0.5, 0.5, 0.5, 0.5, 0.25)), picture((0.4, 0.5, 0.6, 0.5, 0.2))
    two = picture((0.25, 0.3, 0.25, 0.3, 0.15), (0.75, 0.7, 0.75, 0.7, 0.15))
    for image in (blank, -blank, 0 * blank, noise, blob, oval, two, blob / 10):
        assert count_limbs(image).counts.tolist() == [UNREADABLE]


def test_confidence_is_the_agreement_of_thresholds():
    """A finger of half the hand's grey is seen by the lower thresholds only."""
    hand, faint = star(4), picture((0.5, 0.5, 0.79, 0.82, 0.035))
    mixed = torch.maximum(hand, 2 * ((faint + 1) / 2 * 0.55) - 1)
    assert count_limbs(hand).confidence.tolist() == [1.0]
    found = count_limbs(mixed)
    assert found.counts.tolist() in ([4], [5])
    assert found.confidence.tolist() == [pytest.approx(2 / 3)]


def test_a_figure_that_the_border_cuts_is_made_whole():
    images = figures("hands", 8, 28, seed=FRESH).images
    rolled = images.roll((11, 9), (2, 3))
    assert (count_limbs(rolled).counts != 5).any()
    assert (count_limbs(unwrapped(rolled)).counts == 5).all()
    assert torch.equal(unwrapped(rolled).flatten(1).sort().values, images.flatten(1).sort().values)


def by_levels(height):
    """Persistence told by superlevel sets: at each level, label what is above; a hill ends where it shares a component."""
    levels = sorted(set(height[height > 0].tolist()), reverse=True)
    alive, rises = {}, []  # summit height -> the mask of its component and the lowest level of it
    for level in levels:
        parts, count = ndimage.label(height >= level, np.ones((3, 3)))
        now = {}
        for part in range(1, count + 1):
            inside = parts == part
            tops = sorted((top for top, (mask, _) in alive.items() if (mask & inside).any()), reverse=True)
            for lower in tops[1:]:
                rises.append(lower - level)
            top = tops[0] if tops else level
            now[top] = (inside, height[inside].min())
        alive = now
    return sorted(rises + [top - foot for top, (_, foot) in alive.items()])


@given(height=arrays(np.int64, (6, 7), elements=st.integers(-20, 20)).map(lambda a: a + np.arange(42).reshape(6, 7) / 1000))
def test_persistence_is_that_of_superlevel_sets(height):
    height = np.where(height < 1, 0.0, height)  # all heights differ, so that no two summits tie
    assert sorted(persistence(height).tolist()) == pytest.approx(by_levels(height), abs=1e-9)


def test_persistence_of_a_plain():
    assert persistence(np.zeros((4, 4))).tolist() == []
    assert persistence(np.ones((4, 4))).tolist() == [0.0]


def trousers(legs, gap=2, size=28):
    """Hips, and legs of three pixels, upright."""
    image = torch.full((1, 1, size, size), -1.0)
    width = legs * 3 + (legs - 1) * gap
    left = (size - width) // 2
    image[..., 2:9, left : left + width] = 0.7
    for leg in range(legs):
        image[..., 9:26, left + leg * (3 + gap) : left + leg * (3 + gap) + 3] = 0.7
    return image


@pytest.mark.parametrize("legs", [1, 2, 3, 4])
@pytest.mark.parametrize("gap", [1, 2])
def test_legs_are_counted(legs, gap):
    assert count_legs(trousers(legs, gap)).counts.tolist() == [legs]


def test_knees_that_touch_and_holes_do_not_change_the_legs():
    image = trousers(2)
    image[..., 16:18, :] = image[..., 4:6, :]
    assert count_legs(image).counts.tolist() == [2]
    holed = trousers(2)
    holed[..., 20:22, 11] = -1
    assert count_legs(holed).counts.tolist() == [2]


def test_without_garment_there_are_no_legs():
    image = torch.full((1, 1, 28, 28), -1.0)
    assert count_legs(image).counts.tolist() == [UNREADABLE]
    image[..., 10:15, 10:18] = 0.5
    assert count_legs(image).counts.tolist() == [UNREADABLE]
    scraps = trousers(2)
    scraps[..., 8:16, :] = -1
    assert count_legs(scraps).counts.tolist() == [UNREADABLE]


@pytest.mark.skipif(
    not os.path.isdir(os.path.join(os.environ.get("PATCHMOSAIC_DATA", ""), "fashion_mnist")),
    reason="needs fashion_mnist in the folder PATCHMOSAIC_DATA",
)
def test_real_trousers_have_two_legs():
    """About one in fifty of the class is a skirt, a dress or two pairs."""
    pool = load("fashion_mnist", 32, classes="Trouser", split="test", limit=300)
    counts = count_legs(pool.images).counts
    assert (counts == 2).float().mean() >= 0.96
    shirts = load("fashion_mnist", None, classes="T-shirt/top", split="test", limit=100)
    assert (count_legs(shirts.images).counts == 2).float().mean() < 0.3


def test_only_grey_images_are_counted():
    for count in (count_limbs, count_legs):
        with pytest.raises(ShapeError, match="grey images"):
            count(torch.zeros(2, 3, 32, 32))
