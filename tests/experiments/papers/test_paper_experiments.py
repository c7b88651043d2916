"""The experiments, end to end on hardly trained networks: every number told follows from the seeds that are kept."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image

from patchmosaic.analysis.memorisation import nearest_ratios
from patchmosaic.calibration import HELD_OUT_STREAM
from patchmosaic.denoisers import IdealDenoiser
from patchmosaic.errors import PatchMosaicError
from patchmosaic.experiments.papers.catalogue import EXPERIMENTS, run_experiment
from patchmosaic.experiments.papers.ceiling import OTHER_IMAGES, OTHER_WEIGHTS
from patchmosaic.experiments.papers.early_training import FINAL, OWN
from patchmosaic.experiments.papers.experiment import Experiment
from patchmosaic.experiments.papers.improvements import variants
from patchmosaic.experiments.papers.recipe import read_recipes
from patchmosaic.experiments.papers.rows import RowRun
from patchmosaic.experiments.papers.steps_150 import ITSELF
from patchmosaic.generation import generate
from patchmosaic.sampling import sample, seed_labels, seeds

Finished = tuple[Path, str, dict[str, Experiment]]


def long_form(root: Path, name: str) -> dict[tuple[Any, ...], dict[int, float]]:
    """Every key but the seed -> seed -> value, from the file alone."""
    table = json.loads((root / f"{name}-tiny" / "results.json").read_text())["records"]
    columns = [column for column in table if column not in ("seed", "value")]
    found: dict[tuple[Any, ...], dict[int, float]] = defaultdict(dict)
    for i, (seed, value) in enumerate(zip(table["seed"], table["value"], strict=True)):
        keys = tuple((column, table[column][i]) for column in columns if table[column][i] is not None)
        assert seed not in found[keys]
        found[keys][seed] = value
    return found


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_statistics_follow_from_the_raw_values(finished: Finished, name: str) -> None:
    root, _, _ = finished
    raw = long_form(root, name)
    summary = json.loads((root / f"{name}-tiny" / "results.json").read_text())["summary"]
    assert len(summary) == len(raw) > 0
    told = {"median", "low", "high", "mean", "seeds", "beats_IS", "published"}
    for entry in summary:
        keys = tuple(sorted(((key, value) for key, value in entry.items() if key not in told), key=str))
        values = next(np.array(list(of.values())) for found, of in raw.items() if tuple(sorted(found, key=str)) == keys)
        assert entry["median"] == pytest.approx(np.median(values), abs=1e-12)
        assert entry["mean"] == pytest.approx(np.mean(values), abs=1e-12)
        assert entry["seeds"] == len(values)
        if np.ptp(values) > 0:
            generator = np.random.default_rng(0)
            interval = scipy.stats.bootstrap((values,), np.median, n_resamples=2000, method="percentile", rng=generator)
            assert [entry["low"], entry["high"]] == pytest.approx(list(interval.confidence_interval), abs=1e-12)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_everything_is_written(finished: Finished, name: str) -> None:
    root, _, experiments = finished
    folder = root / f"{name}-tiny"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["experiment"], manifest["scale"]) == (name, "tiny")
    assert manifest["headline"] == experiments[name].headline()
    assert manifest["versions"]["torch"] == torch.__version__
    table = (folder / "table.md").read_text()
    assert experiments[name].question in table
    assert all(title in table for title in experiments[name].titles.values())
    parquet = pytest.importorskip("pyarrow.parquet")
    assert parquet.read_table(folder / "results.parquet").num_rows == len(experiments[name].records)
    displays = experiments[name].displays()
    assert displays
    for picture, display in displays.items():
        assert len(display.alt) > 60
        with Image.open(folder / f"{picture}.png") as image:
            assert min(image.size) > 200


@pytest.mark.parametrize("name", ["table1", "locality-scales"])
def test_rows_without_images_are_told_and_the_others_done(finished: Finished, name: str) -> None:
    root, _, experiments = finished
    assert list(experiments[name].titles) == ["zeros", "circular", "attention"]
    assert "no data set of this name" in experiments[name].missing["CelebA UNet"]
    assert "CelebA UNet: not measured." in (root / f"{name}-tiny" / "table.md").read_text()


def test_a_second_run_does_nothing_again(finished: Finished) -> None:
    root, scale, experiments = finished
    before = {path: path.stat().st_mtime_ns for path in (root / "rows").rglob("*.safetensors")}
    told: list[str] = []
    recipes = read_recipes(scale)
    rows = {"zeros": RowRun(root, recipes.rows["zeros"], progress=lambda what, done, total: told.append(what))}
    for name in ("circular", "attention"):
        lender = rows["zeros"] if recipes.rows[name].scales_from else None
        progress = lambda what, done, total: told.append(what)  # noqa: E731
        rows[name] = RowRun(root, recipes.rows[name], lender=lender, progress=progress)
    for name, kind in EXPERIMENTS.items():
        again = kind()
        for row in experiments[name].titles:
            again.measure(rows[row])
        assert again.records.to_json() == experiments[name].records.to_json()
    assert told == []
    assert {path: path.stat().st_mtime_ns for path in (root / "rows").rglob("*.safetensors")} == before


def test_table1_is_of_the_images_that_the_seeds_draw(finished: Finished) -> None:
    root, scale, experiments = finished
    row = RowRun(root, read_recipes(scale).rows["circular"])
    table = experiments["table1"]
    labels = row.compare(3).labels
    assert labels is not None
    drawn = {
        steps: generate(row.network, range(3), steps=steps, labels=labels, batch_size=3).double().flatten(1).numpy()
        for steps in (3, 4)
    }
    for machine in ("ELS", "IS"):
        mine = generate(row.machine(machine), range(3), steps=3, labels=labels, batch_size=3).double().flatten(1).numpy()
        for steps in (3, 4):
            r = [np.corrcoef(a, b)[0, 1] for a, b in zip(mine, drawn[steps], strict=True)]
            keys = {"row": "circular", "machine": machine, "network_steps": steps}
            np.testing.assert_allclose(table.records.values(**keys, metric="r"), r, atol=1e-4)
            np.testing.assert_allclose(table.records.values(**keys, metric="r2"), np.square(r), atol=1e-4)
    r_els, r_ideal = (table.records.values(row="circular", machine=m, network_steps=3, metric="r") for m in ("ELS", "IS"))
    assert table.beats_ideal("circular", 3, "ELS") == pytest.approx(float(np.mean(r_els.numpy() > r_ideal.numpy())))


def test_published_numbers_stand_beside_the_machine_that_they_are_of(finished: Finished) -> None:
    table = finished[2]["table1"]
    table.theory |= {"m": "bbELS", "c": "ELS"}
    table._published |= {"m": "MNIST UNet", "c": "CIFAR ResNet circular"}
    assert table.published("m", 150, "bbELS") == 0.89
    assert table.published("m", 20, "LS") == 0.83
    assert table.published("c", 20, "ELS") == 0.90
    assert table.published("c", 150, "IS") == 0.35
    assert table.published("m", 150, "ELS") is table.published("c", 150, "bbELS") is table.published("m", 30, "LS") is None


def test_steps_tell_the_network_against_itself(finished: Finished) -> None:
    root, scale, experiments = finished
    row = RowRun(root, read_recipes(scale).rows["zeros"])
    few, many = (generate(row.network, range(3), steps=n, batch_size=3).double().flatten(1).numpy() for n in (3, 4))
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(few, many, strict=True)]
    found = experiments["steps-150"].records.values(row="zeros", machine=ITSELF, network_steps=4, metric="r")
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_early_training_ends_where_table1_is(finished: Finished) -> None:
    early, table = finished[2]["early-training"].records, finished[2]["table1"].records
    assert early.distinct("training_step") == [4, 8, 12]
    for machine in ("ELS", "bbELS", "LS", "IS", "Wiener"):
        expected = table.values(row="zeros", machine=machine, network_steps=3, metric="r")
        for scale in (FINAL, OWN) if machine not in ("IS", "Wiener") else (FINAL,):
            found = early.values(row="zeros", machine=machine, training_step=12, scale=scale, metric="r")
            assert torch.equal(found, expected)
    assert not early.where(scale=OWN, machine="IS")
    first = early.values(row="zeros", machine="IS", training_step=4, scale=FINAL, metric="r")
    assert not torch.equal(first, table.values(row="zeros", machine="IS", network_steps=3, metric="r"))


def test_the_ceiling_is_between_networks(finished: Finished) -> None:
    root, scale, experiments = finished
    row = RowRun(root, read_recipes(scale).rows["zeros"])
    images = {}
    for name, network in {"own": row.network, "seed-1": row.twin("seed-1", seed=1)}.items():
        images[name] = generate(network, range(3), steps=4, batch_size=3).double().flatten(1).numpy()
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(images["own"], images["seed-1"], strict=True)]
    records = experiments["ceiling"].records
    np.testing.assert_allclose(
        records.values(row="zeros", machine=OTHER_WEIGHTS, network_steps=4, metric="r"), expected, atol=1e-4
    )
    halves = records.values(row="zeros", machine=OTHER_IMAGES, network_steps=4, metric="r")
    assert bool((halves < 1 - 1e-9).all())


def test_where_every_pixel_sees_all_the_machine_copies_as_the_ideal_one_does(finished: Finished) -> None:
    root, scale, experiments = finished
    transition = experiments["memorising-transition"]
    row = RowRun(root, read_recipes(scale).rows["zeros"])
    trajectory = sample(row.network, seeds(2, row.pool.image_shape, HELD_OUT_STREAM), 3)
    ideal = IdealDenoiser(row.pool)
    levels = sorted(transition.records.distinct("noise_level"), reverse=True)
    for step, (t, level) in enumerate(zip(trajectory.times.tolist(), levels, strict=True)):
        assert level == pytest.approx(float(row.network.schedule.noise_level(t)))
        answers = ideal(trajectory.states[step], t)
        errors = (answers.double() - trajectory.x0_hats[step].double()).square().mean((1, 2, 3))
        for machine in ("LS", "bbELS"):
            keys = {"row": "zeros", "machine": machine, "noise_level": level, "patch_size": 15}
            np.testing.assert_allclose(transition.records.values(**keys, metric="error"), errors, rtol=2e-4)
            ratios = nearest_ratios(answers, row.pool)
            np.testing.assert_allclose(transition.records.values(**keys, metric="nearest_ratio"), ratios, atol=2e-3)
    onset = transition.onset("zeros", "LS")
    rates = transition.copy_rate("zeros", "LS")
    for level, size in onset.items():
        assert all(rates[other][level] < 0.5 for other in rates if size is None or other < size)


def test_attention_is_measured_at_the_scale_of_the_other_row(finished: Finished) -> None:
    root, scale, experiments = finished
    attention, table = experiments["attention"], experiments["table1"]
    for row in ("attention", "zeros"):
        keys = {"row": row, "machine": "bbELS", "network_steps": 4, "metric": "r"}
        assert torch.equal(attention.records.values(**keys), table.records.values(**keys))
    with pytest.raises(PatchMosaicError, match="rows that take another's locality scale, got zeros"):
        list(run_experiment("attention", root, scale, ["zeros"]))


def test_improvements_are_fitted_on_seeds_that_are_not_told(finished: Finished) -> None:
    root, scale, experiments = finished
    row = RowRun(root, read_recipes(scale).rows["zeros"])
    improvements, made = experiments["improvements"], variants(row)
    assert next(iter(made)) == "bbELS" == improvements.theory["zeros"]
    assert set(improvements.records.distinct("machine", row="zeros")) == {*made, "IS", "Wiener"}
    r = {m: improvements.records.values(row="zeros", machine=m, metric="r").numpy() for m in made}
    best = max(r, key=lambda machine: np.median(r[machine][[0, 2]]))
    chosen = improvements.chosen("zeros")
    assert np.median(improvements.records.values(row="zeros", machine=chosen, metric="r").numpy()[[0, 2]]) >= np.median(
        r[best][[0, 2]]
    )
    np.testing.assert_allclose(improvements.gain("zeros", "LS"), r["LS"] - r["bbELS"])
    scales = {name: made[name].describe()["patch_size"] for name in ("bbELS", "bbELS, scale: squared error")}
    assert scales["bbELS"] == row.calibration("bbELS").scale.to_json()
    assert scales["bbELS, scale: squared error"] == row.calibration("bbELS").fitted("mse").scale.to_json()


def test_a_mixture_is_nearer_to_the_network_than_its_parts_where_it_was_fitted(finished: Finished) -> None:
    root, scale, _ = finished
    row = RowRun(root, read_recipes(scale).rows["circular"])
    made = variants(row)
    label = seed_labels(2, row.pool.classes, HELD_OUT_STREAM)
    trajectory = sample(row.network, seeds(2, row.pool.image_shape, HELD_OUT_STREAM), 3, label=label)
    for x_t, t, x0_hat in zip(trajectory.states, trajectory.times.tolist(), trajectory.x0_hats, strict=False):
        tried = ("ELS", "LS", "ELS + LS", "ELS + LS + Wiener")
        errors = {name: float((made[name](x_t, t, label) - x0_hat).square().sum()) for name in tried}
        assert errors["ELS + LS"] <= min(errors["ELS"], errors["LS"]) * (1 + 1e-4)
        assert errors["ELS + LS + Wiener"] <= errors["ELS + LS"] * (1 + 1e-4)


def test_unknown_experiments_are_refused(finished: Finished) -> None:
    root, scale, _ = finished
    with pytest.raises(PatchMosaicError, match=r"no such experiment, got 'table2'\. Known: table1, receptive-fields"):
        list(run_experiment("table2", root, scale))
