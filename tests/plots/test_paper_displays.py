"""The pictures of the papers' experiments show the numbers they are given."""

from typing import Any

import numpy as np
import pytest
import torch

from patchmosaic.calibration import Calibration
from patchmosaic.comparison import Comparison
from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.metrics import Interval
from patchmosaic.plots.attention import DifferencesDisplay
from patchmosaic.plots.intervals import Estimate, IntervalsDisplay
from patchmosaic.plots.locality_scales import ScalePanel, ScalesDisplay
from patchmosaic.plots.style import COLOURS, DARK
from patchmosaic.plots.training_steps import TrainingPanel, TrainingStepsDisplay
from patchmosaic.plots.transition import TransitionDisplay, TransitionPanel


def test_intervals_are_drawn_where_they_are() -> None:
    groups = {
        "one": [
            Estimate("LS", Interval(0.5, 0.4, 0.7), COLOURS["LS"], 0.6),
            Estimate("IS", Interval(0.2, 0.1, 0.3), "#c95d00"),
        ],
        "two": [Estimate("LS", Interval(0.9, 0.85, 0.95), COLOURS["LS"])],
    }
    display = IntervalsDisplay(groups, "title", "r").plot()
    bars = [line.get_xdata() for line in display.ax_.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0] % 1 == 0]
    assert [tuple(bar) for bar in bars if tuple(bar) != (0, 1)] == [(0.4, 0.7), (0.1, 0.3), (0.85, 0.95)]
    dots = [float(points.get_offsets()[0][0]) for points in display.ax_.collections]
    assert dots == [0.5, 0.6, 0.2, 0.9]
    assert {text.get_text() for text in display.ax_.get_legend().get_texts()} == {"LS", "IS", "published"}
    assert "one: LS 0.500 [0.400, 0.700], published 0.60" in display.alt
    alone = IntervalsDisplay({"one": [Estimate("gain", Interval(0.1, 0.0, 0.2), "#000000")]}, "t", "x", zero=True).plot()
    assert alone.ax_.get_legend() is None
    for nothing in ({}, {"one": []}):
        with pytest.raises(PatchMosaicError, match="an estimate in each group"):
            IntervalsDisplay(nothing, "t", "x")


def calibration(machine: str, sizes: tuple[int, ...]) -> Calibration:
    levels = (0.1, 1.0, 10.0)
    cosine = torch.zeros(2, 3, 2, dtype=torch.float64)
    return Calibration(machine, LocalityScale(levels, sizes), levels, (3, 5), cosine)


def test_scales_are_steps_in_a_panel_a_network() -> None:
    published = LocalityScale((0.1, 1.0, 10.0), (3, 5, 7))
    panels = [
        ScalePanel("first", [calibration("LS", (3, 3, 5)), calibration("bbELS", (3, 5, 5))], published),
        ScalePanel("second", [calibration("LS", (5, 5, 5))]),
    ]
    display = ScalesDisplay(panels).plot(theme=DARK)
    drawn = [[tuple(patch.get_data().values) for patch in panel.patches] for panel in display.panels_]
    assert drawn == [[(3, 3, 5), (3, 5, 5), (3, 5, 7)], [(5, 5, 5)]]
    assert "first: LS 3 to 5, bbELS 3 to 5, published 3 to 7" in display.alt
    with pytest.raises(PatchMosaicError, match="a calibration in each panel"):
        ScalesDisplay([])


def test_training_steps_are_lines_through_the_medians() -> None:
    curves: dict[tuple[str, str], Any] = {
        ("LS", "final"): {100: (0.5, 0.4, 0.6), 10: (0.2, 0.1, 0.3)},
        ("LS", "own"): {10: (0.7, 0.6, 0.8), 100: (0.6, 0.5, 0.7)},
        ("IS", "final"): {10: (0.1, 0.0, 0.2), 100: (0.15, 0.1, 0.2)},
    }
    display = TrainingStepsDisplay([TrainingPanel("network", curves, COLOURS)]).plot()
    (panel,) = display.panels_
    lines = {tuple(line.get_ydata()) for line in panel.lines if len(line.get_ydata())}
    assert lines == {(0.2, 0.5), (0.7, 0.6), (0.1, 0.15)}
    assert "LS at its own scale highest 0.70 at 10 steps, last 0.60" in display.alt
    with pytest.raises(PatchMosaicError, match="a curve in each panel"):
        TrainingStepsDisplay([])


def test_the_transition_maps_hold_the_values() -> None:
    levels = (0.1, 1.0, 10.0)
    copies = {size: {level: float(size > 5 and level < 5) for level in levels} for size in (3, 5, 63)}
    errors = {size: {level: size * level for level in levels} for size in (3, 5, 63)}
    panel = TransitionPanel("LS", copies, errors, [(level, 5) for level in levels])
    display = TransitionDisplay([panel]).plot()
    shown = [np.asarray(place.collections[0].get_array()).reshape(3, 3) for place in display.panels_]
    np.testing.assert_array_equal(shown[0], [[0, 0, 0], [0, 0, 0], [1, 1, 0]])
    np.testing.assert_allclose(shown[1], np.outer((3, 5, 63), levels))
    assert "0% at P = 3, 0% at P = 5, 100% at P = 63" in display.alt
    with pytest.raises(PatchMosaicError, match="a machine to show"):
        TransitionDisplay([])


def test_differences_show_the_best_and_the_worst_seeds() -> None:
    generator = torch.Generator().manual_seed(0)
    network = torch.rand(7, 3, 4, 4, generator=generator) * 2 - 1
    noise = torch.rand(7, 3, 4, 4, generator=generator) * 2 - 1
    images = network + noise * torch.linspace(0.1, 2, 7)[:, None, None, None]
    comparison = Comparison(tuple(range(10, 17)), None, 20, 20, network, {"LS": images, "IS": images})
    display = DifferencesDisplay.from_comparison(comparison, "LS", pairs=2)
    r = [float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(network.numpy(), images.numpy(), strict=True)]
    order = np.argsort(r)[::-1]
    assert display.seeds.tolist() == [10 + int(i) for i in (*order[:2], *order[-2:])]
    np.testing.assert_allclose(display.mean, (images - network).abs().mean((0, 1)), atol=1e-6)
    np.testing.assert_allclose(display.differences[0], (images - network)[order[0]].abs().mean(0), atol=1e-6)
    assert "Best and worst of 7 seeds" in display.alt
    assert len(display.plot().ax_.images) == 4 * 3 + 1
    assert len(DifferencesDisplay.from_comparison(comparison, "LS", pairs=9).seeds) == 7
    with pytest.raises(PatchMosaicError, match="not in the comparison"):
        DifferencesDisplay.from_comparison(comparison, "ELS")
