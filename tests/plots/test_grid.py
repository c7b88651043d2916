"""Every pixel of a decoded PNG file is the pixel of the image that belongs there."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchmosaic.errors import PatchMosaicError, ShapeError, ValueRangeError
from patchmosaic.plots import save_png, tile
from patchmosaic.plots.grid import to_pixels

HEIGHT, WIDTH = 3, 2


def numbered(count, channels):
    """Images whose every value, times 255, tells image, channel, row and column apart."""
    pixels = torch.arange(count * channels * HEIGHT * WIDTH).reshape(count, channels, HEIGHT, WIDTH) % 251
    return pixels, pixels.float() / 127.5 - 1


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 7),
    channels=st.sampled_from([1, 3]),
    columns=st.integers(1, 9),
    gap=st.integers(0, 3),
    scale=st.integers(1, 3),
)
def test_each_cell_of_a_saved_grid_shows_its_image(tmp_path_factory, count, channels, columns, gap, scale):
    pixels, images = numbered(count, channels)
    path = save_png(tmp_path_factory.mktemp("grid") / "grid.png", images, columns, gap=gap, scale=scale)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.mode == {1: "L", 3: "RGB"}[channels]
        drawn = np.asarray(picture).reshape(picture.height, picture.width, channels).copy()
    columns = min(columns, count)
    rows = (count + columns - 1) // columns
    assert drawn.shape[:2] == (rows * (HEIGHT * scale + gap) - gap, columns * (WIDTH * scale + gap) - gap)
    seen = np.zeros(drawn.shape, bool)
    for i in range(count):
        top, left = (i // columns) * (HEIGHT * scale + gap), (i % columns) * (WIDTH * scale + gap)
        for y in range(HEIGHT * scale):
            for x in range(WIDTH * scale):
                assert drawn[top + y, left + x].tolist() == pixels[i, :, y // scale, x // scale].tolist()
        seen[top : top + HEIGHT * scale, left : left + WIDTH * scale] = True
    assert (drawn[~seen] == 255).all()


def test_black_is_minus_one_white_is_one_and_the_rest_is_clipped():
    values = torch.tensor([-7.0, -1.0, 0.0, 1.0, 3.0]).reshape(1, 1, 1, 5)
    assert to_pixels(values).tolist() in ([[[0, 0, 127, 255, 255]]], [[[0, 0, 128, 255, 255]]])


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 2), (5, 3), (9, 3), (10, 4)])
def test_a_grid_is_about_square_unless_told(count, columns):
    assert np.array_equal(tile(numbered(count, 1)[1]), tile(numbered(count, 1)[1], columns))


def test_what_cannot_be_shown_is_refused(tmp_path):
    unchecked = inspect.unwrap(to_pixels)  # without the annotations that only tests enforce
    for shape in [(1, 2, 4, 4), (3, 4, 4), (1, 4, 4, 4)]:
        with pytest.raises(ShapeError, match=r"\(n, 3, H, W\)"):
            unchecked(torch.zeros(shape))
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueRangeError, match="finite"):
            save_png(tmp_path / "x.png", torch.full((1, 1, 2, 2), value))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"columns": 0}, {"gap": -1}, {"scale": 0}])
def test_impossible_grids_are_refused(wrong):
    with pytest.raises(PatchMosaicError, match=f"{next(iter(wrong))} must be at least"):
        tile(torch.zeros(2, 1, 2, 2), **wrong)
    with pytest.raises(PatchMosaicError, match="images must be at least 1"):
        tile(torch.zeros(0, 1, 2, 2))
