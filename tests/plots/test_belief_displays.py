"""Belief dynamics, information and critical sizes: what is drawn is what was given."""

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from patchmosaic.analysis.beliefs import QUANTITIES, BeliefDynamics, Beliefs
from patchmosaic.analysis.capacity import white_critical_size
from patchmosaic.analysis.information import Information
from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.plots.beliefs import BeliefDynamicsDisplay
from patchmosaic.plots.critical_size import CriticalSizeDisplay
from patchmosaic.plots.information import InformationDisplay
from patchmosaic.plots.style import COLOURS, DARK

LEVELS = (10.0, 1.0, 0.1)  # as an image forms


def make_beliefs(decided):
    values = {quantity: torch.tensor([[3.0, 2.0, 1.0], [3.0, 1.0, 0.0]], dtype=torch.float64) / 3 for quantity in QUANTITIES}
    values["decided"] = torch.tensor(decided, dtype=torch.float64)
    return Beliefs((5, 3, 3), values, values)


def make_dynamics():
    machines = {
        "IS": make_beliefs([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]),
        "mine $x$": make_beliefs([[0.0, 0.0, 0.2], [0.0, 0.0, 0.4]]),
    }
    return BeliefDynamics((0, 1), LEVELS, machines)


def make_information(machine="LS", draws=3):
    decided = torch.tensor([[0.0, 0.8, 1.0], [0.0, 0.2, 0.8], [0.0, 0.0, 0.3]], dtype=torch.float64).expand(draws, 3, 3)
    most = torch.full((3, 3), 6.0, dtype=torch.float64)
    gaussian = torch.tensor([[2.0, 8.0, 20.0], [1.0, 4.0, 9.0], [0.1, 0.5, 1.0]], dtype=torch.float64)
    return Information(machine, (0.1, 1.0, 10.0), (1, 3, 9), most, 6 * (1 - decided), decided, gaussian, 0.7, 1, 9)


def line(ax, label):
    return next(one for one in ax.lines if one.get_label() == label)


def test_beliefs_are_drawn_as_means_over_seeds():
    display = BeliefDynamicsDisplay.from_beliefs(make_dynamics()).plot()
    entropy, decided, images = display.panels_
    np.testing.assert_allclose(line(entropy, "IS").get_xydata(), np.transpose([LEVELS, [1, 0.5, 1 / 6]]))
    np.testing.assert_allclose(line(images, "IS").get_ydata(), np.exp([1, 0.5, 1 / 6]))
    np.testing.assert_allclose(line(decided, r"mine \$x\$").get_ydata(), [0, 0, 0.3])
    assert to_rgb(line(decided, "IS").get_color()) == to_rgb(COLOURS["IS"])
    dots = [one.get_xydata().tolist() for one in decided.lines if one.get_marker() == "o"]
    assert dots == [[[pytest.approx(math.sqrt(10)), 0.5]]]  # IS is half decided half way between 1 and 10
    assert all(panel.get_xscale() == "log" for panel in display.panels_)
    assert "IS has half of its pixels decided below noise level 3.2" in display.alt
    assert "mine $x$ never" in display.alt


def test_information_reaches_the_line_of_ln_D_and_dots_are_onsets():
    display = InformationDisplay([make_information(), make_information("ELS")]).plot(theme=DARK)
    assert len(display.panels_) == 2
    ax = display.panels_[0]
    for label, values in [("1 × 1", [0, 0, 0]), ("3 × 3", [4.8, 1.2, 0]), ("whole image", [6, 4.8, 1.8])]:
        np.testing.assert_allclose(line(ax, label).get_xydata(), np.transpose([[0.1, 1, 10], values]), atol=1e-12)
    assert "ln |D| = 6.0" in [text.get_text() for text in ax.texts]
    assert ax.get_ylim()[1] > 6
    dots = [one for one in ax.lines if one.get_marker() == "o" and len(one.get_xdata())]
    assert [float(one.get_xdata()[0]) for one in dots] == [pytest.approx(math.sqrt(0.1)), pytest.approx(10**0.6)]
    assert [float(one.get_ydata()[0]) for one in dots] == [pytest.approx(3.0), pytest.approx(3.0)]
    assert len({line(ax, label).get_color() for label in ("1 × 1", "3 × 3", "whole image")}) == 3


def test_critical_sizes_stand_beside_their_predictions_and_the_scale():
    scale = LocalityScale((0.1, 1.0, 10.0), (3, 5, 7))
    display = CriticalSizeDisplay([make_information()], {"LS": scale}).plot()
    ax = display.ax_
    first, second = (1 + 0.5 / 0.8 * 8) ** 0.5, (9 + 0.5 * 72) ** 0.5  # by area, between 1 and 3, and 3 and 9
    np.testing.assert_allclose(line(ax, "LS, measured").get_xydata(), [[0.1, first], [1.0, second], [10.0, np.nan]])
    bound = next(one for one in ax.lines if one.get_label().startswith("_") and len(one.get_xdata()) == 3)
    np.testing.assert_allclose(bound.get_ydata(), [(1 + 4 / 6 * 8) ** 0.5, (9 + 2 / 5 * 72) ** 0.5, np.nan])
    curves = [one for one in ax.lines if len(one.get_xdata()) == 200]
    x = curves[0].get_xdata()
    np.testing.assert_allclose(curves[0].get_ydata(), [white_critical_size(level, 6.0, 0.7, 1) for level in x])
    np.testing.assert_array_equal(curves[1].get_ydata(), [scale(level) for level in x])
    assert f"{second:.1f} at noise 1" in display.alt
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "the network's locality scale" in labels
    without = CriticalSizeDisplay([make_information()]).plot().ax_.get_legend().get_texts()
    assert "the network's locality scale" not in [text.get_text() for text in without]


@pytest.mark.parametrize("display", [InformationDisplay, CriticalSizeDisplay])
def test_nothing_to_show_is_refused(display):
    with pytest.raises(PatchMosaicError, match="must be information"):
        display([])


def test_they_can_be_saved(tmp_path):
    displays = [BeliefDynamicsDisplay(make_dynamics()), InformationDisplay([make_information()])]
    for i, display in enumerate([*displays, CriticalSizeDisplay([make_information()])]):
        assert display.save(tmp_path / f"{i}.png").stat().st_size > 5000
