"""Shadows keep lengths and bring nothing farther apart, also after any translation; so what they say of weights is a bound."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmosaic.engine import shadows
from patchmosaic.engine.memory import as_numbers
from patchmosaic.engine.shadows import Shadows, cosines, shadow_bytes, spectrum

sides = st.integers(1, 7)


def few_numbers(monkeypatch):
    """So that small images too have more coordinates than a shadow has numbers."""
    monkeypatch.setattr(shadows, "KEPT", 5)
    monkeypatch.setattr(shadows, "GROUPS", 3)


def pool(seed, n, channels, height, width, kind="noise"):
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (n, channels, height, width))
    if kind == "constant":
        images = np.broadcast_to(images[:, :, :1, :1], images.shape).copy()
    elif kind == "duplicates":
        images[1:] = images[0]
    elif kind == "opposites":
        images[n // 2 :] = -images[: n - n // 2]
    return torch.from_numpy(images)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), channels=st.integers(1, 4), height=sides, width=sides)
def test_coordinates_keep_lengths_and_contract_distances(seed, channels, height, width):
    images = pool(seed, 4, channels, height, width)
    lengths = images.flatten(1).norm(dim=1)
    apart = torch.cdist(images.flatten(1), images.flatten(1))
    for coordinates in (cosines, spectrum):
        mapped = coordinates(images)
        torch.testing.assert_close(mapped.norm(dim=1), lengths, rtol=1e-12, atol=1e-13)
        assert bool((torch.cdist(mapped, mapped) <= apart + 1e-7).all())
    torch.testing.assert_close(cosines(images) @ cosines(images).T, images.flatten(1) @ images.flatten(1).T)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), height=sides, width=sides, down=st.integers(0, 6), across=st.integers(0, 6))
def test_the_spectrum_is_blind_to_translation(seed, height, width, down, across):
    images = pool(seed, 3, 3, height, width)
    moved = images.roll((down, across), (2, 3))
    torch.testing.assert_close(spectrum(moved), spectrum(images), rtol=1e-9, atol=1e-12)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 3), sides, sides),
    kind=st.sampled_from(["noise", "constant", "duplicates", "opposites"]),
    translates=st.booleans(),
    gamma=st.sampled_from([0.0, 1e-3, 1.0, 1e3, 1e6]),
    near=st.booleans(),
)
def test_no_image_weighs_more_than_its_bound(seed, shape, kind, translates, gamma, near):
    with pytest.MonkeyPatch.context() as monkeypatch:
        few_numbers(monkeypatch)
        images = pool(seed, 9, *shape, kind)
        query = images[:1].roll((1, 2), (2, 3)) if near else 3 * pool(seed + 1, 1, *shape)
        cast = Shadows.cast(images, spectrum if translates else cosines)
        upper = cast.upper_log_weights(query, gamma)
    _, height, width = shape
    moves = [(d, e) for d in range(height) for e in range(width)] if translates else [(0, 0)]
    energies = 0.5 * images.square().sum((1, 2, 3))
    levels = torch.stack([gamma * ((query * images.roll(move, (2, 3))).sum((1, 2, 3)) - energies) for move in moves])
    assert bool((levels.logsumexp(0) <= upper).all())


@pytest.mark.parametrize("coordinates", [cosines, spectrum])
def test_shadows_of_bytes_are_those_of_the_numbers_they_stand_for(coordinates):
    stored = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 3, 5, 4), dtype=np.uint8))
    images = as_numbers(stored, torch.float64)
    left, right = Shadows.cast(stored, coordinates), Shadows.cast(images, coordinates)
    for name in ("order", "images", "energies", "low", "high"):
        assert torch.equal(getattr(left, name), getattr(right, name)), name
    torch.testing.assert_close(left.energies, images.square().sum((1, 2, 3)))
    torch.testing.assert_close(left.low[:, 0, 0], images.amin((0, 2, 3)))
    torch.testing.assert_close(left.high[:, 0, 0], images.amax((0, 2, 3)))


def test_smooth_images_are_told_apart():
    """A bound that lets everything through is no use: of smooth images, 21 numbers out of 256 tell which one is meant."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:16, :16]
    waves = [np.cos(a * rows + b * columns + c) for a, b, c in rng.uniform(0, 1, (50, 3))]
    images = torch.from_numpy(np.stack(waves)[:, None])
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(shadows, "KEPT", 16)
        monkeypatch.setattr(shadows, "GROUPS", 5)
        cast = Shadows.cast(images, cosines)
        upper = cast.upper_log_weights(images[7:8] + 0.1 * torch.from_numpy(rng.standard_normal((1, 1, 16, 16))), 100.0)
    assert cast.images.shape == (50, 21)
    assert int(upper.argmax()) == 7
    level = 100.0 * 0.5 * float(images[7].square().sum())
    assert int((upper > level - math.log(1e12)).sum()) < 10
    assert shadow_bytes(50) >= 50 * 8 * 73
