"""What is drawn, read back from matplotlib's artists, is what numpy makes of the same data."""

import json
import math

import numpy as np
import pytest
import torch
from display_cases import MIXTURES, make_calibration, make_comparison, r_of
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from patchmosaic.calibration import Calibration
from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.plots import (
    DARK,
    LocalityScaleDisplay,
    ScatterDisplay,
    SideBySideDisplay,
    SummaryDisplay,
    TrainingCurveDisplay,
)
from patchmosaic.sampling import seeds


@pytest.fixture
def comparison():
    return make_comparison()


@pytest.fixture
def calibration():
    return make_calibration()


def texts(display):
    """Everything written on the picture, with its place."""
    figure = display.figure_
    figure.draw_without_rendering()
    axes = display.ax_
    own = [*axes.texts, axes._left_title, axes.xaxis.label, axes.yaxis.label]
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        own += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in own if text.get_text()]


def written(display):
    return [text.get_text() for text in texts(display)]


# Scatter.


def points(display):
    return next(np.asarray(c.get_offsets()) for c in display.ax_.collections if c.get_label() == "seeds")


@pytest.mark.parametrize("machine", ["ELS", "LS", "Wiener"])
def test_a_scatter_has_each_seed_at_its_correlations(comparison, machine):
    display = ScatterDisplay.from_comparison(comparison, machine).plot()
    ideal, own = r_of(comparison, "IS"), r_of(comparison, machine)
    np.testing.assert_allclose(points(display), np.stack([ideal, own], 1), atol=1e-9)
    above = float(np.mean(own > ideal))
    assert above > 0
    assert display.fraction == pytest.approx(above)
    assert f"{machine} beats IS on {above:.0%} of 7 seeds" in written(display)
    assert {f"median {np.median(ideal):.2f}", f"median {np.median(own):.2f}"} <= set(written(display))
    median = next(np.asarray(c.get_offsets()) for c in display.ax_.collections if c.get_label() == "median")
    np.testing.assert_allclose(median, [[np.median(ideal), np.median(own)]], atol=1e-9)


def test_every_point_of_a_scatter_lies_within_its_axes():
    display = ScatterDisplay.from_comparison(make_comparison(mixtures={"IS": 1.0, "ELS": -30.0})).plot()
    display.machine_r[0] = -0.93
    display.plot()
    for low, high, values in [
        (*display.ax_.get_xlim(), points(display)[:, 0]),
        (*display.ax_.get_ylim(), points(display)[:, 1]),
    ]:
        assert low <= values.min()
        assert values.max() <= high
    assert display.ax_.get_xlim() == display.ax_.get_ylim()


# Locality scale.


@pytest.mark.parametrize("count", [1, 3])
def test_the_steps_are_the_scale_and_the_band_the_quartiles(count):
    calibrations = [make_calibration(name, i) for i, name in enumerate(["ELS", "LS", "bbELS"][:count])]
    display = LocalityScaleDisplay.from_calibrations(calibrations).plot()
    assert len(display.ax_.patches) == len(display.ax_.collections) == count
    for calibration, steps, band in zip(calibrations, display.ax_.patches, display.ax_.collections, strict=True):
        values, edges, _ = steps.get_data()
        assert values.tolist() == list(calibration.scale.patch_sizes)
        for low, high, level, size in zip(edges[:-1], edges[1:], calibration.noise_levels, values, strict=True):
            assert low < level < high
            inside = np.geomspace(low, high, 9)[1:-1]
            assert {calibration.scale(float(at)) for at in inside} == {int(size)}
        best = np.array(calibration.patch_sizes)[calibration.cosine.numpy().argmax(-1)]
        lower, upper = np.percentile(best, [25, 75], axis=0)
        corners = band.get_paths()[0].vertices
        for level, below, above in zip(calibration.noise_levels, lower, upper, strict=True):
            assert span_at(corners, level) == pytest.approx((below, above))


def span_at(corners, x):
    """(lowest, highest) y at which the closed outline meets the vertical line at x."""
    crossings = []
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if min(x0, x1) <= x < max(x0, x1):
            crossings.append(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
    return min(crossings), max(crossings)


def test_an_infinite_noise_level_is_drawn_near_the_rest():
    levels = (0.1, 1.0, 10.0, math.inf)
    scale = LocalityScale(levels, (3, 5, 7, 9))
    cosine = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    display = LocalityScaleDisplay.from_calibrations(
        [Calibration("LS", scale, scale.noise_levels, (3, 5, 7, 9), cosine)]
    ).plot()
    values, edges, _ = display.ax_.patches[0].get_data()
    assert values.tolist() == [3, 5, 7, 9]
    np.testing.assert_allclose(edges, np.geomspace(0.1, 100, 4)[[0, 1, 2, 3, 3]] * np.sqrt(10) ** np.array([-1, -1, -1, -1, 1]))


def test_the_receptive_field_is_a_line(calibration):
    display = LocalityScaleDisplay.from_calibrations([calibration], receptive_field=17).plot()
    assert [17, 17] in [list(line.get_ydata()) for line in display.ax_.lines]
    assert any("17 pixels" in text for text in written(display))
    assert display.ax_.get_ylim()[1] > 17
    assert "17 pixels" in display.alt
    without = LocalityScaleDisplay.from_calibrations([calibration]).plot()
    assert not without.ax_.lines


def test_each_curve_is_named_with_its_seeds(calibration):
    legend = LocalityScaleDisplay.from_calibrations([calibration, make_calibration("LS", 1, seeds=5)]).plot().ax_.get_legend()
    assert [text.get_text().split() for text in legend.get_texts()] == [["ELS", "(9", "seeds)"], ["LS", "(5", "seeds)"]]


# Summary.

REFERENCES = {
    "r": lambda p, y: np.corrcoef(p, y)[0, 1],
    "r2": lambda p, y: np.corrcoef(p, y)[0, 1] ** 2,
    "R2": lambda p, y: 1 - ((p - y) ** 2).sum() / ((y - y.mean()) ** 2).sum(),
    "cosine": lambda p, y: p @ y / np.sqrt((p @ p) * (y @ y)),
    "mse": lambda p, y: ((p - y) ** 2).mean(),
}


@pytest.mark.parametrize("metric", REFERENCES)
def test_a_summary_marks_the_median_of_each_machine(comparison, metric):
    display = SummaryDisplay.from_comparison(comparison, metric=metric).plot()
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert names == ["ELS", "LS", "IS", "Wiener"]  # local first, baselines last
    dots, marks = display.ax_.collections[::2], display.ax_.collections[1::2]
    y = comparison.network_images.double().flatten(1).numpy()
    for row, name in enumerate(names):
        p = comparison.images[name].double().flatten(1).numpy()
        values = np.array([REFERENCES[metric](p[i], y[i]) for i in range(len(y))])
        np.testing.assert_allclose(np.asarray(marks[row].get_offsets()), [[np.median(values), row]], atol=1e-9)
        offsets = np.asarray(dots[row].get_offsets())
        np.testing.assert_allclose(offsets[:, 0], values, atol=1e-9)
        assert np.abs(offsets[:, 1] - row).max() < 0.5
        number = f"{np.median(values):.{3 if metric == 'mse' else 2}f}".replace("-", "−")
        assert any(text.get_text() == number and text.xy[1] == row for text in display.ax_.texts)
        bar = display.ax_.lines[row]
        low, high = bar.get_xdata()
        assert values.min() - 1e-9 <= low <= np.median(values) <= high <= values.max() + 1e-9
        assert set(bar.get_ydata()) == {row}
    assert display.ax_.get_ylim()[0] > display.ax_.get_ylim()[1]  # the first at the top


def test_a_summary_shows_the_machines_asked_for_in_that_order(comparison):
    display = SummaryDisplay.from_comparison(comparison, ["Wiener", "ELS"]).plot()
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["Wiener", "ELS"]


# Side by side.


def images_by_place(display):
    """Rows from top to bottom of the images from left to right, as 8-bit arrays, and the middles of the columns."""
    placed = {}
    for image in display.ax_.images:
        left, right, bottom, top = image.get_extent()
        placed.setdefault(round(min(top, bottom), 6), {})[(left + right) / 2] = np.asarray(image.get_array())
    rows = [placed[top] for top in sorted(placed)]
    return [[row[x] for x in sorted(row)] for row in rows], sorted(rows[0]), sorted(placed)


def eight_bit(images):
    pixels = np.rint((images.double().numpy().clip(-1, 1) + 1) / 2 * 255)
    return np.moveaxis(pixels, 1, -1).squeeze(-1) if images.shape[1] == 1 else np.moveaxis(pixels, 1, -1)


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_and_columns_are_machines_and_seeds(channels):
    comparison = make_comparison(channels)
    display = SideBySideDisplay.from_comparison(comparison, count=4).plot()
    rows, middles, _ = images_by_place(display)
    assert len(rows) == 2 + len(MIXTURES)
    x_T = seeds(comparison.seeds[:4], (channels, 5, 4))
    noise = np.stack(rows[0]).astype(float).ravel() / 127.5 - 1
    expected = np.moveaxis(x_T.numpy(), 1, -1).ravel().clip(-3, 3) / 3
    np.testing.assert_allclose(noise, expected, atol=0.005)
    shown = [comparison.network_images, *(comparison.images[name] for name in ["ELS", "LS", "IS", "Wiener"])]
    for row, images in zip(rows[1:], shown, strict=True):
        np.testing.assert_allclose(np.stack(row).astype(float), eight_bit(images[:4]), atol=1)
    assert len(middles) == 4


def test_below_each_image_stands_its_correlation_and_the_best_is_bold(comparison):
    display = SideBySideDisplay.from_comparison(comparison, ["IS", "ELS"], noise=False).plot()
    _, middles, tops = images_by_place(display)
    found = {name: r_of(comparison, name) for name in ["IS", "ELS"]}
    for row, name in enumerate(["IS", "ELS"], 1):
        end = tops[row + 1] if row + 1 < len(tops) else math.inf
        for x, r, other in zip(middles, found[name], found["ELS" if name == "IS" else "IS"], strict=True):
            below = [
                t for t in display.ax_.texts if abs(t.get_position()[0] - x) < 1e-6 and tops[row] < t.get_position()[1] < end
            ]
            assert [t.get_text() for t in below] == [f"{r:.2f}".replace("-", "−")]
            assert (below[0].get_weight() == "bold") == (r > other)
        assert f"median r {np.median(found[name]):.2f}" in written(display)
    labels = [t.get_text() for t in display.ax_.texts if t.get_ha() == "right" and t.get_weight() == "bold"]
    assert labels == ["network", "IS", "ELS"]


def heads(display):
    _, middles, tops = images_by_place(display)
    above = [t for t in display.ax_.texts if t.get_position()[1] < tops[0] and t.get_ha() == "center"]
    at = {round(t.get_position()[0], 6): t.get_text() for t in above}
    return [at[round(x, 6)] for x in middles]


def test_columns_are_headed_by_class_or_seed(comparison):
    draw = SideBySideDisplay.from_comparison
    assert heads(draw(comparison, class_names=("cat", "dog", "$4")).plot()) == [
        "cat",
        "dog",
        r"\$4",
        "cat",
        "dog",
        r"\$4",
        "cat",
    ]
    assert heads(draw(comparison).plot()) == ["0", "1", "2", "0", "1", "2", "0"]
    plain = draw(make_comparison(labelled=False), count=3).plot()
    assert heads(plain) == ["10", "11", "12"]
    assert "seed" in written(plain)
    assert "class" not in written(plain)


LONG = "a machine with a name that goes on and on and on"


@pytest.mark.parametrize("columns", [1, 3, 6, 16])
def test_no_two_texts_of_a_side_by_side_overlap_and_none_is_cut(columns):
    comparison = make_comparison(count=columns, mixtures={"IS": 1.2, "ELS": 0.5, LONG: 0.7})
    names = ["an extraordinarily long class name", "cat", "T-shirt/top"]
    display = SideBySideDisplay.from_comparison(comparison, count=columns, class_names=names).plot()
    display.figure_.draw_without_rendering()
    canvas = display.figure_.bbox
    boxes = {(text.get_text(), i): text.get_window_extent() for i, text in enumerate(display.ax_.texts)}
    for key, box in boxes.items():
        assert canvas.x0 <= box.x0, key
        assert box.x1 <= canvas.x1, key
        assert canvas.y0 <= box.y0, key
        assert box.y1 <= canvas.y1, key
    pixel = display.figure_.dpi / 72  # boxes include some air above and below the letters
    order = list(boxes)
    for i, one in enumerate(order):
        for other in order[:i]:
            a, b = boxes[one], boxes[other]
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            down = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert across <= 0.5 * pixel or down <= 3.5 * pixel, (one, other)


@pytest.mark.parametrize(
    "make",
    [
        lambda c: ScatterDisplay.from_comparison(c, LONG),
        SummaryDisplay.from_comparison,
        lambda c: LocalityScaleDisplay.from_calibrations([make_calibration()], receptive_field=11),
        lambda c: TrainingCurveDisplay(np.arange(1.0, 3001), np.geomspace(1, 0.03, 3000)),
    ],
)
def test_nothing_written_on_a_chart_is_cut(make):
    display = make(make_comparison(mixtures={"IS": 1.2, "ELS": 0.5, LONG: 0.7})).plot()
    canvas = display.figure_.bbox
    for text in texts(display):
        if text.get_visible():
            box = text.get_window_extent()
            assert canvas.x0 - 1 <= box.x0, text
            assert box.x1 <= canvas.x1 + 1, text
            assert canvas.y0 - 1 <= box.y0, text
            assert box.y1 <= canvas.y1 + 1, text


def test_names_are_not_read_as_mathematics(tmp_path):
    comparison = make_comparison(mixtures={"IS": 1.2, "$x_": 0.7, r"$\frac$": 0.5})
    for i, display in enumerate(
        [
            SideBySideDisplay.from_comparison(comparison, class_names=["$^$", "$", "a$b$"]),
            SummaryDisplay.from_comparison(comparison),
            ScatterDisplay.from_comparison(comparison, r"$\frac$"),
        ]
    ):
        display.save(tmp_path / f"{i}.svg")  # a formula that is none would raise


# Training curve.


def metrics_file(path, losses, tail=""):
    lines = [json.dumps({"step": i, "loss": loss, "lr": 1e-3}) + "\n" for i, loss in enumerate(losses, 1)]
    path.write_text("".join(lines) + tail)
    return path


def test_the_curve_is_read_from_the_metrics(tmp_path):
    losses = np.random.default_rng(0).uniform(0.1, 1, 50).tolist()
    display = TrainingCurveDisplay.from_metrics(metrics_file(tmp_path / "metrics.jsonl", losses)).plot()
    x, y = next(line.get_data() for line in display.ax_.lines if len(line.get_xdata()) == 50)
    assert list(x) == list(range(1, 51))
    np.testing.assert_allclose(y, losses)
    assert display.last == pytest.approx(np.mean(losses[-2:]))
    assert f"{np.mean(losses[-2:]):.3f}" in display.alt
    assert "50 steps" in display.alt


def test_many_steps_share_points_whose_mean_is_kept(tmp_path):
    losses = np.random.default_rng(0).uniform(0.1, 1, 1200)
    display = TrainingCurveDisplay.from_metrics(metrics_file(tmp_path / "m.jsonl", losses.tolist())).plot()
    x, y = max((line.get_data() for line in display.ax_.lines), key=lambda data: len(data[0]))
    np.testing.assert_allclose(y, losses.reshape(-1, 10).mean(1))
    np.testing.assert_allclose(x, np.arange(1, 1201).reshape(-1, 10).mean(1))


def test_a_last_line_cut_short_is_passed_over(tmp_path):
    display = TrainingCurveDisplay.from_metrics(metrics_file(tmp_path / "m.jsonl", [0.5, 0.25], tail='{"step": 3, "lo'))
    assert display.losses.tolist() == [0.5, 0.25]


@pytest.mark.parametrize("damage", ["{broken\n", '{"step": 3}\n', "[1, 2]\n", '{"step": "x", "loss": 1}\n', "\n"])
def test_a_damaged_line_is_named(tmp_path, damage):
    with pytest.raises(CheckpointError, match=r"not a line of training metrics.*line 3 of .*m\.jsonl"):
        TrainingCurveDisplay.from_metrics(metrics_file(tmp_path / "m.jsonl", [0.5, 0.25], tail=damage))


def test_metrics_must_exist_and_hold_a_step(tmp_path):
    with pytest.raises(CheckpointError, match="Training writes"):
        TrainingCurveDisplay.from_metrics(tmp_path / "none.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match="cannot read"):
        TrainingCurveDisplay.from_metrics(tmp_path / "bytes.jsonl")
    with pytest.raises(CheckpointError, match="no step"):
        TrainingCurveDisplay.from_metrics(metrics_file(tmp_path / "m.jsonl", []))


# Refusals.


def test_unknown_names_are_answered_with_the_known_ones(comparison):
    for make in (
        lambda: ScatterDisplay.from_comparison(comparison, "bbELS"),
        lambda: SummaryDisplay.from_comparison(comparison, ["bbELS"]),
        lambda: SideBySideDisplay.from_comparison(comparison, ["ELS", "bbELS"]),
    ):
        with pytest.raises(PatchMosaicError, match=r"got 'bbELS'\. Known: IS, Wiener, LS, ELS\."):
            make()
    with pytest.raises(PatchMosaicError, match=r"no such metric, got 'psnr'\. Known: r, r2, R2, cosine, mse\."):
        SummaryDisplay.from_comparison(comparison, metric="psnr")
    with pytest.raises(PatchMosaicError, match="'IS'"):
        ScatterDisplay.from_comparison(make_comparison(mixtures={"ELS": 0.5}))


def test_there_must_be_a_calibration_and_a_column(comparison):
    with pytest.raises(PatchMosaicError, match=r"no calibration to show.*patchmosaic\.calibrate"):
        LocalityScaleDisplay.from_calibrations([])
    with pytest.raises(PatchMosaicError, match="at least one column, got 0"):
        SideBySideDisplay.from_comparison(comparison, count=0)


# Themes.


def test_the_dark_theme_is_dark(comparison):
    display = SummaryDisplay.from_comparison(comparison).plot(theme=DARK)
    assert max(display.figure_.get_facecolor()[:3]) < 0.2
    assert min(to_rgb(display.ax_.get_yticklabels()[0].get_color())) > 0.8


def test_a_display_goes_onto_the_axes_it_is_given(comparison):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    display = ScatterDisplay.from_comparison(comparison)
    assert display.plot(left) is display
    assert display.ax_ is left
    assert display.figure_ is figure
    assert left.collections
    assert not right.collections
