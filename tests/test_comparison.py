"""Metrics against numpy, scipy and scikit-learn; and a comparison whose outcome is known beforehand."""

import inspect
import json

import numpy as np
import pytest
import scipy.spatial.distance
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmosaic.comparison import Comparison, compare
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, LocalDenoiser, NetworkDenoiser, WienerDenoiser
from patchmosaic.errors import PatchMosaicError, ShapeError
from patchmosaic.metrics import METRICS, Interval, measure, median_interval
from patchmosaic.noise import EDMSchedule
from patchmosaic.sampling import sample, seed_labels, seeds

SHAPE = (2, 4, 3)
POOL = ImageSet(torch.rand(9, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1, [0, 1, 1] * 3)
STEPS = 6


def pictures(seed, n=3, dtype=torch.float64):
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Metrics.

REFERENCES = {
    "r": lambda p, y: np.corrcoef(p, y)[0, 1],
    "r2": lambda p, y: np.corrcoef(p, y)[0, 1] ** 2,
    "R2": lambda p, y: sklearn.metrics.r2_score(y, p),
    "cosine": lambda p, y: 1 - scipy.spatial.distance.cosine(p, y),
    "mse": lambda p, y: sklearn.metrics.mean_squared_error(y, p),
}


def test_every_metric_has_a_reference():
    assert set(METRICS) == set(REFERENCES)


@pytest.mark.parametrize("metric", REFERENCES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1), shift=st.floats(-2, 2), double=st.booleans())
def test_metrics_match_the_libraries(metric, seed, share, shift, double):
    dtype = torch.float64 if double else torch.float32
    y = pictures(seed, dtype=dtype)
    p = (share * y + (1 - share) * pictures(seed + 1, dtype=dtype) + shift).to(dtype)
    measured = measure(p, y)[metric]
    assert measured.dtype == torch.float64
    for prediction, truth, value in zip(p.double().flatten(1).numpy(), y.double().flatten(1).numpy(), measured, strict=True):
        assert value.item() == pytest.approx(REFERENCES[metric](prediction, truth), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1.0, 1 / 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_correlation_with_a_constant_image_counts_as_zero(constant, dtype):
    flat, lively = torch.full((1, *SHAPE), constant, dtype=dtype), pictures(0, 1, dtype)
    for p, y in [(flat, lively), (lively, flat), (flat, flat), (flat, 0.7 * flat)]:
        measured = measure(p, y)
        assert abs(measured["r"].item()) < 1e-9
        assert measured["r2"].item() < 1e-9
    assert measure(lively, flat)["R2"].item() == 0
    assert all(np.isfinite(value.item()) for value in measure(lively, flat).values())


def test_a_prediction_of_the_mean_explains_nothing_and_a_worse_one_less():
    y = pictures(0)
    mean = y.mean((1, 2, 3), keepdim=True).expand_as(y)
    assert measure(mean, y)["R2"].abs().max().item() < 1e-12
    assert measure(-3 * y, y)["R2"].max().item() < 0
    assert measure(-3 * y, y)["r"].numpy() == pytest.approx(-1)


def test_shapes_must_agree():
    unchecked = inspect.unwrap(measure)  # without the annotations that only tests enforce
    with pytest.raises(ShapeError, match="same shape"):
        unchecked(pictures(0, 3), pictures(0, 2))


# Intervals.


@pytest.mark.parametrize("count", [2, 15, 100])
def test_the_interval_is_a_percentile_bootstrap_of_the_median(count):
    values = np.random.default_rng(count).standard_normal(count)
    interval = median_interval(torch.from_numpy(values), resamples=4000)
    rng = np.random.default_rng(123)
    medians = np.median(rng.choice(values, (40_000, count)), axis=1)
    assert interval.value == pytest.approx(np.median(values))
    # A resampled median takes few values, so an end is judged by its rank among them: 2.5%, give or take 1%.
    for below, up_to in [
        ((medians < interval.low).mean(), (medians <= interval.low).mean()),
        ((medians > interval.high).mean(), (medians >= interval.high).mean()),
    ]:
        assert below < 0.035
        assert up_to > 0.015
    assert interval.low <= interval.value <= interval.high


def test_the_interval_covers_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(150):
        interval = median_interval(torch.from_numpy(rng.standard_normal(31)), resamples=300)
        hits += interval.low <= 0 <= interval.high
    assert 0.88 <= hits / 150 <= 0.995


def test_the_interval_is_the_same_each_time():
    values = torch.from_numpy(np.random.default_rng(0).standard_normal(20))
    assert median_interval(values) == median_interval(values)


def test_without_spread_the_interval_is_a_point():
    assert median_interval(torch.tensor([0.4], dtype=torch.float64)) == Interval(0.4, 0.4, 0.4)
    assert median_interval(torch.full((5,), 0.25, dtype=torch.float64)) == Interval(0.25, 0.25, 0.25)
    assert str(Interval(0.9123, 0.9, 0.95)) == "0.912 [0.900, 0.950]"


# A comparison made by hand.


def by_hand():
    """Four seeds; "LS" predicts the first three of them exactly and the last not at all, IS the other way round."""
    truth = pictures(0, 4, torch.float32)
    noise = pictures(1, 4, torch.float32)
    good = torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None, None, None]
    drawn = {"IS": truth * (1 - good) + noise * good, "LS": truth * good + noise * (1 - good), "same": truth}
    return Comparison((0, 1, 2, 5), torch.tensor([1, 0, 1, 1]), 20, 150, truth, drawn)


def test_beating_the_ideal_is_a_count_of_seeds():
    comparison = by_hand()
    assert comparison.beats_ideal("LS") == 0.75
    assert comparison.beats_ideal("IS") == 0
    assert comparison.beats_ideal("same") == 0.75  # a tie is not a win


def test_medians_are_over_seeds():
    comparison = by_hand()
    assert comparison.median("LS").value == pytest.approx(1)
    assert comparison.median("same", "mse").value == 0
    expected = np.median(
        [
            np.corrcoef(p.flatten(), y.flatten())[0, 1]
            for p, y in zip(comparison.images["IS"], pictures(0, 4, torch.float32), strict=True)
        ]
    )
    assert comparison.median("IS", "r").value == pytest.approx(expected)


def test_json_holds_everything_but_the_images():
    comparison = by_hand()
    record = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    assert record["seeds"] == [0, 1, 2, 5]
    assert record["labels"] == [1, 0, 1, 1]
    assert (record["steps"], record["network_steps"]) == (20, 150)
    for name in comparison.images:
        assert record["summary"][name]["beats_IS"] == comparison.beats_ideal(name)
        for metric in METRICS:
            assert record["per_seed"][name][metric] == comparison.per_seed[name][metric].tolist()
            assert record["summary"][name][metric]["value"] == comparison.median(name, metric).value
    assert "images" not in record


def test_the_table_has_a_row_a_machine_and_a_column_a_metric():
    head, *rows = str(by_hand()).splitlines()
    assert head.split()[1:6] == list(METRICS)
    assert [row.split()[0] for row in rows] == ["IS", "LS", "same"]
    assert rows[0].rstrip().endswith("-")
    assert rows[1].rstrip().endswith("75%")


# compare.


def run(network, machines, **options):
    return compare(network, machines, **{"seeds": 4, "steps": STEPS, **options})


def test_a_machine_that_is_the_network_predicts_it_exactly():
    network = LocalDenoiser(POOL, 3)
    comparison = run(network, {"LS": LocalDenoiser(POOL, 3), "other": LocalDenoiser(POOL, 1)})
    assert comparison.per_seed["LS"]["r"].numpy() == pytest.approx(1, abs=1e-12)
    assert comparison.per_seed["LS"]["mse"].max().item() == 0
    assert comparison.per_seed["LS"]["R2"].min().item() == 1
    assert comparison.per_seed["other"]["r"].max().item() < 1 - 1e-6


def test_the_baselines_are_always_there():
    network = LocalDenoiser(POOL, 3, schedule=EDMSchedule())
    comparison = run(network, {"LS": LocalDenoiser(POOL, 3, schedule=EDMSchedule())}, conditional=False)
    assert set(comparison.images) == {"IS", "Wiener", "LS"}
    x_T = seeds(4, SHAPE) * EDMSchedule().prior_std()
    for name, kind in (("IS", IdealDenoiser), ("Wiener", WienerDenoiser)):
        expected = sample(kind(POOL, schedule=EDMSchedule()), x_T, STEPS).x0
        torch.testing.assert_close(comparison.images[name], expected, rtol=0, atol=1e-4)
    alone = run(network, {}, pool=POOL)
    assert set(alone.images) == {"IS", "Wiener"}


def test_baselines_of_the_callers_own_are_kept():
    mine = LocalDenoiser(POOL, 5)
    comparison = run(LocalDenoiser(POOL, 3), {"IS": mine})
    same = run(LocalDenoiser(POOL, 3), {"mine": mine})
    assert torch.equal(comparison.images["IS"], same.images["mine"])


def test_all_get_the_same_noise_and_class():
    network = LocalDenoiser(POOL, 3)
    comparison = run(network, {"LS": LocalDenoiser(POOL, 5)}, seeds=[7, 3, 8], network_steps=9, batch_size=2)
    labels = seed_labels([7, 3, 8], POOL.classes)
    assert comparison.seeds == (7, 3, 8)
    assert torch.equal(comparison.labels, labels)
    assert (comparison.steps, comparison.network_steps) == (STEPS, 9)
    x_T = seeds([7, 3, 8], SHAPE)
    torch.testing.assert_close(comparison.network_images, sample(network, x_T, 9, labels).x0, rtol=0, atol=1e-4)
    for name, machine in {"LS": LocalDenoiser(POOL, 5), "IS": IdealDenoiser(POOL), "Wiener": WienerDenoiser(POOL)}.items():
        torch.testing.assert_close(comparison.images[name], sample(machine, x_T, STEPS, labels).x0, rtol=0, atol=1e-4)


def test_classes_are_given_only_to_networks_that_have_them():
    class Shrink(torch.nn.Module):
        def forward(self, x_t, t):
            return 0.5 * x_t

    network = NetworkDenoiser(Shrink(), "x0")
    comparison = run(network, {"LS": LocalDenoiser(POOL, 3)})
    assert comparison.labels is None
    assert json.loads(json.dumps(comparison.to_json()))["labels"] is None


def test_finished_seeds_are_kept(tmp_path):
    calls = []

    class Counted(LocalDenoiser):
        def _denoise(self, x_t, t, label):
            calls.append(len(x_t))
            return super()._denoise(x_t, t, label)

    network, machines = Counted(POOL, 3), {"LS": LocalDenoiser(POOL, 5)}
    first = run(network, machines, keep=tmp_path)
    assert sum(calls) == 4 * STEPS
    again = run(network, machines, keep=tmp_path, seeds=5)
    assert sum(calls) == 5 * STEPS
    assert torch.equal(again.network_images[:4], first.network_images)


def test_there_must_be_a_pool_and_a_seed():
    class Nothing(torch.nn.Module):
        def forward(self, x_t, t):
            return x_t

    network = NetworkDenoiser(Nothing(), "x0")
    with pytest.raises(PatchMosaicError, match=r"training images.*pool="):
        run(network, {"net": network})
    for nobody in (0, []):
        for options in ({"conditional": False}, {"conditional": True}):
            with pytest.raises(PatchMosaicError):
                run(LocalDenoiser(POOL, 3), {"LS": LocalDenoiser(POOL, 3)}, seeds=nobody, **options)


def test_a_machine_may_not_pass_for_the_truth():
    """Whatever a machine is called, the network is what all are compared with."""
    truth = run(LocalDenoiser(POOL, 3), {"a": LocalDenoiser(POOL, 5)})
    try:
        renamed = run(LocalDenoiser(POOL, 3), {"network": LocalDenoiser(POOL, 5)})
    except PatchMosaicError:
        return  # refusing the name is as good
    assert torch.equal(renamed.network_images, truth.network_images)
    assert torch.equal(renamed.images["network"], truth.images["a"])
