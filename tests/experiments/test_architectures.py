"""The study on digits, with networks too small and too short trained to be good: its numbers must be right all the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from patchmosaic.analysis.memorisation import nearest_ratios
from patchmosaic.data import load
from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import DataError, PatchMosaicError, ShapeError
from patchmosaic.experiments.architectures.study import parts, study
from patchmosaic.experiments.architectures.variants import BASE, SCALES, Scale, variants
from patchmosaic.experiments.outcomes import TIMES, Outcome
from patchmosaic.progress import silent

SCALE = Scale(width=4, mlp_widths=(4, 6, 8), images=40, held_out=30, seeds=6, steps=4, batch_size=8)
ALL = [variant.title for variant in variants(SCALE)]
SOME = ["normalisation: batch", "MLP: code of 8", "IS, copies", "Wiener, linear"]


@pytest.fixture(scope="module")
def pool() -> ImageSet:
    return load("digits", None, limit=200)


@pytest.fixture(scope="module")
def finished(pool: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Outcome]]:
    folder = tmp_path_factory.mktemp("study")
    return folder, {outcome.title: outcome for outcome in study(folder, pool, SCALE, SOME)}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_every_unet_differs_from_the_base_in_one_thing(scale: Scale) -> None:
    networks = {v.title: v.network((1, 28, 28)) for v in variants(scale) if v.network}
    base = networks.pop("base UNet").config()
    unets = [network.config() for network in networks.values() if type(network).__name__ == "UNet"]
    assert len(unets) == 10
    for config in unets:
        assert sum(config[name] != base[name] for name in base) == 1
    assert len({json.dumps(config) for config in [base, *unets]}) == 11
    widths = [network.config()["widths"] for network in networks.values() if type(network).__name__ == "MLP"]
    assert widths[:3] == sorted(widths[:3])
    assert min(widths[3]) == 8
    assert len(set(ALL)) == len(ALL)


def test_the_parts_are_disjoint_and_the_same_each_time(pool: ImageSet) -> None:
    images = parts(pool, SCALE)
    all_parts = [*images.halves.values(), images.held_out]
    assert [len(part) for part in all_parts] == [40, 40, 30]
    rows = {image.numpy().tobytes() for part in all_parts for image in part.images}
    assert len(rows) == 110
    assert rows <= {image.numpy().tobytes() for image in pool.images}
    assert [part.content_hash for part in parts(pool, SCALE).halves.values()] == [part.content_hash for part in all_parts[:2]]
    with pytest.raises(DataError, match="at least 20 images, got 12"):
        parts(ImageSet(torch.zeros(12, 1, 4, 4)), SCALE)


def test_the_statistics_are_those_of_the_samples_left_behind(pool: ImageSet, finished: Any) -> None:
    folder, outcomes = finished
    record = json.loads((folder / "results.json").read_text())
    assert set(record["summary"]) == set(outcomes) == {"base UNet", *SOME}
    halves = parts(pool, SCALE).halves
    for place in (folder / "variants").iterdir():
        title = json.loads((place / "outcome.json").read_text())["title"]
        samples = load_file(place / "samples.safetensors")
        a, b = (samples[half].double().flatten(1).numpy() for half in "AB")
        r = [np.corrcoef(one, two)[0, 1] for one, two in zip(a, b, strict=True)]
        summary = record["summary"][title]
        assert summary["agreement"] == pytest.approx(np.median(r), abs=1e-9)
        ratios = np.concatenate([nearest_ratios(samples[half], halves[half]).numpy() for half in "AB"])
        assert summary["nearest_ratio"] == pytest.approx(np.median(ratios))
        assert summary["copies"] == pytest.approx((ratios < 1 / 3).mean())
        raw = record["measures"][title]["halves"]
        assert summary["realism"] == pytest.approx((raw["A"]["realism"] + raw["B"]["realism"]) / 2)
        errors = (np.array(raw["A"]["test_errors"]) + raw["B"]["test_errors"]) / 2
        assert summary["test_errors"] == pytest.approx(errors.tolist())
        assert len(errors) == len(TIMES) == len(record["noise_levels"])
        assert outcomes[title].samples.abs().max() <= 1


def test_the_closed_forms_show_what_the_measures_mean(finished: Any) -> None:
    _, outcomes = finished
    ideal, wiener = outcomes["IS, copies"], outcomes["Wiener, linear"]
    assert ideal.copies == 1.0
    assert wiener.copies == 0.0
    assert ideal.errors("train")[0] < 1e-6 < 0.01 < ideal.errors("test")[0]
    assert wiener.median_agreement > ideal.median_agreement


def test_a_finished_variant_is_only_read(pool: ImageSet, finished: Any) -> None:
    folder, outcomes = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "variants").rglob("*")}
    told: list[str] = []
    for outcome in study(folder, pool, SCALE, SOME, progress=lambda what, done, total: told.append(what)):
        assert torch.equal(outcome.samples, outcomes[outcome.title].samples)
        assert outcome.summary() == outcomes[outcome.title].summary()
    assert set(told) == {"variants"}
    assert {path: path.stat().st_mtime_ns for path in (folder / "variants").rglob("*")} == before


class Killed(Exception):
    pass


def test_a_killed_study_ends_as_if_never_killed(pool: ImageSet, finished: Any, tmp_path: Path) -> None:
    _, outcomes = finished

    def kill(what: str, done: int, total: int) -> None:
        if (what, done) == ("normalisation: batch, half B", 2):
            raise Killed

    with pytest.raises(Killed):
        list(study(tmp_path, pool, SCALE, SOME, progress=kill))
    assert set(json.loads((tmp_path / "results.json").read_text())["summary"]) == {"base UNet"}
    told: list[str] = []
    for outcome in study(tmp_path, pool, SCALE, SOME, progress=lambda what, done, total: told.append(what)):
        assert torch.equal(outcome.samples, outcomes[outcome.title].samples)
        assert outcome.halves == outcomes[outcome.title].halves
    assert "base UNet, half A" not in told  # finished before
    assert "normalisation: batch, half A" not in told  # trained before, only drawn and measured again
    assert "normalisation: batch, half B" in told


def test_another_scale_is_another_result(pool: ImageSet, tmp_path: Path) -> None:
    for steps in (1, 2):
        scale = Scale(**{**vars(SCALE), "steps": steps, "seeds": 3})
        (base,) = study(tmp_path, pool, scale, [])
        assert base.factor == BASE
    assert len(list((tmp_path / "variants").iterdir())) == 2


def test_unknown_variants_and_sizes_that_no_unet_takes_are_refused(pool: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(PatchMosaicError, match=r"no such variant, got 'padding: mirror'\. Known: 'base UNet', 'padding: circ"):
        list(study(tmp_path, pool, SCALE, ["padding: mirror"], progress=silent))
    with pytest.raises(ShapeError, match="multiples of 4, got 9x9"):
        list(study(tmp_path, load("digits", 9, limit=60), SCALE, []))
