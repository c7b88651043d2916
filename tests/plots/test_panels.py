"""Densities and points: what the panels draw is what was given."""

from itertools import pairwise

import numpy as np
import pytest
from display_cases import EDGES, make_densities, make_points, make_variants
from matplotlib.figure import Figure

from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots import DensitiesDisplay, DensityResult, FamilyMapDisplay, PointsDisplay


def test_a_panel_of_densities_shows_histogram_target_and_law():
    results = make_densities()
    display = DensitiesDisplay(results, EDGES).plot()
    assert len(display.panels_) == 2
    for panel, result in zip(display.panels_, results, strict=True):
        samples, target, law = (patch.get_data() for patch in panel.patches)
        counted = np.array([((low <= result.samples) & (result.samples < high)).sum() for low, high in pairwise(EDGES)])
        np.testing.assert_allclose(samples.values, counted / 300 / 0.25)
        np.testing.assert_allclose(target.values, result.target * 4)
        np.testing.assert_allclose(law.values, np.full(16, 0.25))
        np.testing.assert_array_equal(samples.edges, EDGES)
    labels = [text.get_text() for text in display.panels_[0].get_legend().get_texts()]
    assert labels == ["samples", "target", "predicted law"]
    assert display.panels_[1].get_xlabel() == "W1 from the law 0.250"


def test_samples_beyond_the_bins_lower_the_histogram():
    law = DensityResult("half outside", np.array([0.1, 9.0]), np.full(16, 1 / 16), None, 0.0)
    display = DensitiesDisplay([law], EDGES, "code")
    assert display.drawn(0).sum() * 0.25 == pytest.approx(0.5)
    assert "target" not in [text.get_text() for text in display.plot().panels_[0].get_legend().get_texts()]
    assert display.panels_[0].get_xlabel().startswith("code; W1")


def test_a_panel_of_points_shows_samples_and_what_was_fitted():
    results = make_points()
    display = PointsDisplay(results, np.eye(2)).plot()
    dots, (crosses, spot) = display.panels_[0].collections[0], display.panels_[1].collections
    np.testing.assert_allclose(dots.get_offsets(), results[0].samples)
    np.testing.assert_allclose(crosses.get_offsets(), np.eye(2))
    np.testing.assert_allclose(spot.get_offsets(), results[1].samples)
    assert spot.get_sizes()[0] > dots.get_sizes()[0]  # few different points are drawn larger
    beyond = sum(max(abs(x), abs(y)) > display.panels_[0].get_xlim()[1] for x, y in results[0].samples)
    assert beyond == display.outside(0) > 0
    assert display.panels_[0].get_xlabel() == f"{beyond} samples beyond"
    assert display.panels_[1].get_xlabel() == "off by 0.5"


@pytest.mark.parametrize(("count", "across"), [(1, 1), (4, 4), (5, 3), (8, 4), (9, 3)])
def test_panels_fill_rows_of_four_at_most(count, across):
    display = DensitiesDisplay(make_densities([str(i) for i in range(count)]), EDGES).plot(Figure().subplots())
    places = [panel.get_subplotspec() for panel in display.panels_]
    assert [(place.rowspan.start, place.colspan.start) for place in places] == [(i // across, i % across) for i in range(count)]


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(PatchMosaicError, match="there must be a law"):
        DensitiesDisplay([], EDGES)
    with pytest.raises(PatchMosaicError, match="one: there are 3 bins, got 16"):
        DensitiesDisplay(make_densities(), EDGES[:4])
    with pytest.raises(PatchMosaicError, match="there must be points"):
        PointsDisplay([], np.eye(2))
    with pytest.raises(PatchMosaicError, match="axes made by subplots"):
        PointsDisplay(make_points(), np.eye(2)).plot(Figure().add_axes((0, 0, 1, 1)))


def test_the_map_of_families_speaks_of_no_networks():
    display = FamilyMapDisplay(make_variants()).plot()
    words = " ".join(text.get_text() for panel in display.panels_ for text in (panel.xaxis.label, panel.yaxis.label))
    assert "denoisers made from" in words
    assert "network" not in words + display.alt
    assert "Denoisers" in display.panels_[0].get_title(loc="left")
