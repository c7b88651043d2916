"""Figures: the outlines against closed forms, independence of number, size and count, and what `load` makes of their names."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchmosaic.data import load
from patchmosaic.data.figures import COUNT, KINDS, coverage, figures
from patchmosaic.data.sources import open_records
from patchmosaic.errors import DataError, ShapeError


@given(length=st.floats(0, 0.4), radius=st.floats(0.06, 0.12), angle=st.floats(0, 2 * math.pi), size=st.sampled_from([48, 101]))
def test_a_capsule_covers_its_area(length, radius, angle, size):
    """A capsule is a rectangle and two half discs: pi r² + 2 r l, whatever its direction and the grid."""
    half = 0.5 * length * np.array([math.cos(angle), math.sin(angle)])
    capsule = np.array([[*(0.5 - half), *(0.5 + half), radius]])
    area = coverage(capsule, size).mean()
    assert area == pytest.approx(math.pi * radius**2 + 2 * radius * length, rel=0.03)


def test_a_union_covers_what_either_does():
    one, two = np.array([[0.3, 0.3, 0.5, 0.5, 0.1]]), np.array([[0.5, 0.5, 0.8, 0.4, 0.07]])
    both = coverage(np.concatenate([one, two]), 40)
    np.testing.assert_array_equal(both, np.maximum(coverage(one, 40), coverage(two, 40)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_depends_on_seed_and_number_alone(kind):
    pool = figures(kind, 12, 28, seed=3)
    assert torch.equal(pool.stored[:5], figures(kind, 5, 28, seed=3).stored)
    assert len({image.numpy().tobytes() for image in pool.stored}) == 12
    assert not {image.numpy().tobytes() for image in pool.stored} & {
        image.numpy().tobytes() for image in figures(kind, 12, 28, seed=4).stored
    }


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_whole_grey_images_on_black(kind):
    pool = figures(kind, 40, 24)
    assert pool.image_shape == (1, 24, 24)
    assert pool.images.min() == -1
    tops = pool.images.amax((1, 2, 3))
    assert tops.min() >= 0.4
    assert tops.std() > 0.05
    borders = torch.cat([pool.images[..., 0], pool.images[..., -1], pool.images[:, :, 0], pool.images[:, :, -1]])
    assert (borders > 0).float().mean() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_the_same_at_every_size(kind):
    """Averaged over squares of 3 x 3 pixels, a figure of 72 is that of 24 but for how an edge is rounded."""
    large = torch.nn.functional.avg_pool2d(figures(kind, 10, 72).images, 3)
    assert (large - figures(kind, 10, 24).images).abs().mean() < 0.02


def test_a_mixture_takes_turns_and_says_which():
    kinds = ("trousers", "hands")
    pool = figures(kinds, 7, 32)
    assert pool.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert pool.class_names == kinds
    assert torch.equal(pool.stored[1::2], figures("hands", 7, 32).stored[1::2])
    assert figures("hands", 3).labels is None


def test_they_are_loaded_by_name():
    pool = load("figures:stick figures", limit=6)
    assert torch.equal(pool.stored, figures("stick figures", 6, 32).stored)
    assert pool.name == "figures:stick figures"
    assert torch.equal(load("figures:hands", limit=3, split="test").stored, figures("hands", 3, 32, seed=1).stored)
    mixed = load("figures:hands,trousers", 24, limit=4)
    assert mixed.image_shape == (1, 24, 24)
    assert mixed.labels.tolist() == [0, 1, 0, 1]
    assert open_records("figures:hands", "train").count == COUNT


def test_what_is_refused():
    with pytest.raises(DataError, match=r"no such kind of figure, got 'feet'\. Known: hands, stick figures, trousers"):
        figures("feet", 3)
    with pytest.raises(DataError, match="got 'feet'"):
        load("figures:feet")
    with pytest.raises(DataError, match="got none"):
        figures([], 3)
    with pytest.raises(DataError, match=r"no such split, got 'validation'\. There is: train, test"):
        load("figures:hands", split="validation")
    with pytest.raises(DataError, match="at least one figure"):
        figures("hands", 0)
    with pytest.raises(ShapeError, match="got 16"):
        figures("hands", 3, 16)
    with pytest.raises(DataError, match=r"Drawn: figures:hands, "):
        load("no such set")
