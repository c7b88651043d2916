"""Heat maps and widths of receptive fields: what is drawn, read back from matplotlib's artists, is what was given."""

import numpy as np
import pytest
import torch
from display_cases import make_calibration
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from PIL import Image

from patchmosaic.analysis.receptive_field import ReceptiveFields
from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.plots.receptive_field import ReceptiveFieldDisplay
from patchmosaic.plots.style import COLOURS, DARK, LIGHT
from patchmosaic.plots.width_and_scale import WidthAndScaleDisplay

LEVELS = (0.1, 1.0, 10.0)
SCALES = {"LS": LocalityScale(LEVELS, (3, 5, 7)), "ELS": LocalityScale((1.0,), (3,))}


@pytest.fixture
def fields():
    """Even squares of 1, 3 and 5 pixels about (8, 7) of 16 x 15."""
    heat = torch.zeros(3, 16, 15, dtype=torch.float64)
    for i in range(3):
        heat[i, 8 - i : 9 + i, 7 - i : 8 + i] = 2.0
    return ReceptiveFields((0.2, 0.5, 0.9), LEVELS, heat, (8, 7), "x0", 4)


def test_each_is_a_picture_with_its_numbers_in_words(fields, tmp_path):
    displays = [ReceptiveFieldDisplay.from_fields(fields, scales=SCALES), WidthAndScaleDisplay(fields, [make_calibration()], 9)]
    for i, display in enumerate(displays):
        with Image.open(display.plot(theme=DARK).save(tmp_path / f"{i}.png", dpi=100)) as picture:
            assert np.allclose(picture.size, [100 * side for side in display.size], atol=1)
    assert "noise level 10: 90% within 5 pixels, ELS patch 3, LS patch 7" in displays[0].alt
    assert "90% of the network's gradient lies within 1 pixels at the lowest noise and 5" in displays[1].alt


def test_maps_are_shares_on_one_scale_and_cut_to_what_is_seen(fields):
    display = ReceptiveFieldDisplay(fields).plot()
    maps = [image.get_array() for image in display.ax_.images[:3]]
    side = 5 + 2 * 2  # what is seen at some level, and the margin
    assert all(array.shape == (side, side, 4) for array in maps)
    darkest = [array[4, 4, :3] for array in maps]  # a share of 1, of 1/9 and of 1/25
    assert np.array_equal(darkest[0], np.round(255 * np.array(to_rgba(LIGHT.ink)[:3])))
    assert (darkest[0] < darkest[1]).all()
    assert (darkest[1] < darkest[2]).all()
    for i, array in enumerate(maps):
        seen = (array[..., :3] < 255).any(-1)
        expected = np.zeros((side, side), bool)
        expected[4 - i : 5 + i, 4 - i : 5 + i] = True
        assert np.array_equal(seen, expected)
    texts = [text.get_text() for text in display.ax_.texts]
    assert "σ/α = 10\n90% in 5 × 5" in texts


def test_the_calibrated_patch_is_a_square_about_the_pixel(fields):
    display = ReceptiveFieldDisplay(fields, SCALES, levels=(2,)).plot()
    (image,) = [image for image in display.ax_.images if image.get_array().shape == (9, 9, 4)]
    left, right, bottom, top = image.get_extent()
    squares = [patch for patch in display.ax_.patches if isinstance(patch, Rectangle)]
    for name, size in (("ELS", 3), ("LS", 7)):
        (square,) = [patch for patch in squares if patch.get_edgecolor() == to_rgba(COLOURS[name])]
        assert square.get_width() == pytest.approx(size * (right - left) / 9)
        assert square.get_center() == pytest.approx(((left + right) / 2, (bottom + top) / 2))


def test_near_a_corner_only_the_image_is_shown(fields):
    cornered = ReceptiveFields(fields.times, fields.noise_levels, fields.heat.roll((-8, -7), (1, 2)), (0, 0), "eps", 4)
    shown = ReceptiveFieldDisplay(cornered, SCALES).plot().ax_.images[0].get_array()
    assert shown.shape[:2] == (16, 15)  # what is rolled round the border counts as far away


def test_widths_are_drawn_over_the_scales(fields):
    calibration = make_calibration("LS")
    display = WidthAndScaleDisplay(fields, [calibration], 9).plot()
    lines = {line.get_label(): line for line in display.ax_.lines}
    for label, values in (("holds 90% of the gradient", (1, 3, 5)), ("spread of the gradient", (1, 3, 5))):
        assert np.allclose(lines[label].get_xdata(), LEVELS)
        assert np.allclose(lines[label].get_ydata(), values)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["holds 90% of the gradient", "spread of the gradient", "LS  (9 seeds)"]
    assert display.ax_.get_ylim()[1] > 9


def test_a_width_above_the_scales_is_still_in_the_picture(fields):
    heat = torch.zeros(3, 41, 41, dtype=torch.float64)
    heat[:, 0, 0] = 1.0
    wide = ReceptiveFields(fields.times, (0.1, 1.0, float("inf")), heat, (20, 20), "x0", 1)
    display = WidthAndScaleDisplay(wide, [make_calibration()]).plot()
    assert display.ax_.get_ylim()[1] > 41
    assert len(display.ax_.lines[0].get_xdata()) == 2  # an infinite noise level has no place on the axis


def test_what_cannot_be_shown_is_refused(fields):
    with pytest.raises(PatchMosaicError, match="from 0 to 2"):
        ReceptiveFieldDisplay(fields, levels=(3,))
    with pytest.raises(PatchMosaicError, match="no calibration"):
        WidthAndScaleDisplay(fields, [])
