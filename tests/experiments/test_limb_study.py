"""The limb experiment at its smallest: its numbers are those of the samples it leaves; tight locality is worse than loose."""

import json

import pytest
import torch
from safetensors.torch import load_file

from patchmosaic.analysis.limbs import count_limbs
from patchmosaic.analysis.tally import LimbTally
from patchmosaic.errors import PatchMosaicError
from patchmosaic.experiments.limbs import SCALES, SUBJECTS, LimbResult, Scale, study
from patchmosaic.locality import LocalityScale

SMALL = Scale(
    24, 24, 6, 6, (3, 23), width=16, depth=1, training_steps=3, batch_size=4, calibration_seeds=1, machines=("bbELS",), real=20
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limbs")
    return folder, study(folder, "trousers", SMALL)


def test_the_numbers_are_those_of_the_samples(finished):
    folder, result = finished
    record = json.loads((folder / "results.json").read_text())
    assert record == json.loads(json.dumps(result.to_json()))
    for size in (3, 23):
        (place,) = (folder / "samples").glob(f"bbELS-{size}-*")
        kept = torch.stack([load_file(path)["result"] for path in sorted(place.glob("seed-*"))])
        counts = count_limbs(kept.clamp(-1, 1)).counts.tolist()
        stored = record["machines"]["bbELS"]["patch sizes"][str(size)]
        assert stored["counts"] == counts
        assert stored["wrong"][0] == pytest.approx(sum(count != 2 for count in counts) / 6)
        assert torch.equal(kept.clamp(-1, 1), result.samples["bbELS", size])
    assert len(record["network"]["counts"]) == len(record["machines"]["bbELS"]["calibrated"]["counts"]) == 6
    assert record["real"]["right"] >= 0.99
    assert len(record["real"]["counts"]) == 20


def test_tight_locality_is_worse_than_whole_figures(finished):
    _, result = finished
    tallies = result.machines["bbELS"]
    assert tallies[23].wrong.value < tallies[3].wrong.value
    assert tallies[23].wrong.value <= 1 / 6


def test_a_second_call_only_reads(finished):
    folder, result = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "samples").rglob("seed-*")}
    again = study(folder, "trousers", SMALL)
    assert again.to_json() == result.to_json()
    assert {path: path.stat().st_mtime_ns for path in (folder / "samples").rglob("seed-*")} == before


def test_enough_is_the_least_size_from_which_on_extra_limbs_are_rare():
    def result(excess):
        tallies = {size: LimbTally((5,) * (100 - n) + (6,) * n, 5) for size, n in excess.items()}
        one = LimbTally((5,), 5)
        return LimbResult("hands", 1, SMALL, {"ELS": LocalityScale((1.0,), (3,))}, one, one, {"ELS": tallies}, {"ELS": one}, {})

    assert result({3: 0, 5: 40, 9: 5, 15: 0}).enough("ELS") == 9
    assert result({3: 0, 5: 1}).enough("ELS") == 3
    assert result({3: 9, 5: 6}).enough("ELS") is None


@pytest.mark.parametrize("name", ["hands", "stick figures", "trousers"])
def test_training_and_real_figures_differ(name):
    task = SUBJECTS[name]
    assert task.images(3, 24, "train").content_hash != task.images(3, 24, "test").content_hash


def test_scales_are_possible():
    assert all(size < scale.image_size for scale in SCALES.values() for size in scale.patch_sizes)
    assert all(scale.patch_sizes == tuple(sorted(scale.patch_sizes)) for scale in SCALES.values())


def test_what_is_refused(tmp_path):
    with pytest.raises(PatchMosaicError, match=r"no such subject, got 'feet'\. Known: hands, stick figures"):
        study(tmp_path, "feet", SMALL)
