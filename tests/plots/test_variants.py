"""Pictures of variants: what is drawn, read back from matplotlib's artists, is what was given."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from display_cases import LEVELS, make_variants
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from PIL import Image

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots import DARK, VariantErrorsDisplay, VariantMapDisplay, VariantSamplesDisplay
from patchmosaic.plots.grid import to_pixels
from patchmosaic.plots.variant_map import spread


@pytest.fixture(params=[1, 3], ids=["grey", "rgb"])
def results(request):
    return make_variants(request.param)


def displays(results):
    real = 2 * torch.rand((4, results[0].images.shape[1], 8, 8)) - 1
    return [
        VariantSamplesDisplay(results, (real, 0.11)),
        VariantErrorsDisplay(results, LEVELS),
        VariantMapDisplay(results, (0.95, 0.11)),
    ]


def test_each_is_a_picture_with_words_in_either_theme(results, tmp_path):
    for i, display in enumerate(displays(results)):
        with Image.open(display.plot(theme=DARK).save(tmp_path / f"{i}.png", dpi=100)) as picture:
            assert np.allclose(picture.size, [100 * side for side in display.size], atol=1)
        assert "circular" in display.alt


def test_samples_stand_in_rows_with_their_numbers(results):
    display = VariantSamplesDisplay(results, count=3).plot()
    shown = [image.get_array() for image in display.ax_.images]
    expected = [pixels for result in results for pixels in to_pixels(result.images[:3])]
    assert len(shown) == 15
    assert all(np.array_equal(one, two) for one, two in zip(shown, expected, strict=True))
    tops = [image.get_extent()[3] for image in display.ax_.images]
    assert all(len(set(tops[i : i + 3])) == 1 for i in range(0, 15, 3))
    texts = [text.get_text() for text in display.ax_.texts]
    for one in results:
        for value in (one.realism, one.agreement, one.nearest_ratio):
            assert f"{value:.2f}" in texts


def test_samples_stay_within_the_picture(results):
    display = VariantSamplesDisplay(results, (results[0].images, 0.1)).plot()
    width, height = display.size
    for image in display.ax_.images:
        left, right, bottom, top = image.get_extent()
        assert 0 < left < right < width
        assert 0 < top < bottom < height


def test_error_panels_show_each_factor_relative_to_the_base(results):
    display = VariantErrorsDisplay(results, LEVELS).plot()
    assert [panel.get_title(loc="left") for panel in display.panels_] == ["padding", "blocks", "closed form"]
    lines = {line.get_label(): line for line in display.panels_[1].lines}
    assert np.allclose(lines["base"].get_ydata(), 1.0)
    for one in results[2:4]:
        assert np.allclose(lines[one.name].get_xdata(), LEVELS)
        assert np.allclose(lines[one.name].get_ydata(), np.array(one.test_errors) / results[0].test_errors)
        dashed = lines[f"_{one.name}, training images"]
        assert np.allclose(dashed.get_ydata(), np.array(one.train_errors) / results[0].test_errors)
        assert dashed.is_dashed()


def test_the_map_puts_points_where_they_are_and_ties_them_to_their_names(results):
    display = VariantMapDisplay(results, (0.95, 0.11)).plot()
    copies, agreement = display.panels_
    by_realism = sorted(results, key=lambda one: one.realism)
    for panel, field in ((copies, "nearest_ratio"), (agreement, "agreement")):
        points = panel.collections[0].get_offsets()
        assert np.allclose(points, [(getattr(one, field), one.realism) for one in by_realism])
    ties = [artist for artist in display.figure_.get_children() if isinstance(artist, ConnectionPatch)]
    assert np.allclose([tie.xy1 for tie in ties], [(one.agreement, one.realism) for one in by_realism])
    names = display.figure_.axes[-1]
    texts = [text for text in names.texts if text.get_text()]
    assert [text.get_position()[1] for text in texts] == [tie.xy2[1] for tie in ties]
    assert len(names.images) == 4 * len(results)


@given(wanted=st.lists(st.floats(0, 3), max_size=20), step=st.floats(0.05, 0.5))
def test_places_keep_their_order_and_distance(wanted, step):
    places = spread(sorted(wanted), step, 3.0)
    assert all(above - below > step * (1 - 1e-6) for below, above in pairwise(places))
    if len(wanted) * step < 3:
        assert all(place <= 3.0 for place in places)


def test_places_with_room_are_the_wanted_ones():
    assert spread([0.5, 1.0, 2.5], 0.3, 3.0) == [0.5, 1.0, 2.5]


def test_they_draw_on_an_axes_that_is_given(results):
    for display in displays(results)[1:]:
        axes = Figure(figsize=(9, 9)).subplots(2, 1)
        display.plot(axes[1])
        assert display.figure_ is axes[1].figure
        assert len(display.figure_.axes) > 3


def test_what_cannot_be_shown_is_refused(results):
    with pytest.raises(PatchMosaicError, match="a variant and a column"):
        VariantSamplesDisplay([])
    with pytest.raises(PatchMosaicError, match="beside the base"):
        VariantErrorsDisplay(results[:1], LEVELS)
    with pytest.raises(PatchMosaicError, match="at 3 noise levels"):
        VariantErrorsDisplay([*results, replace(results[0], test_errors=[1.0])], LEVELS)
    with pytest.raises(PatchMosaicError, match="a variant to show"):
        VariantMapDisplay([])
    with pytest.raises(PatchMosaicError, match="made by subplots"):
        VariantMapDisplay(results).plot(Figure().add_axes((0, 0, 1, 1)))
