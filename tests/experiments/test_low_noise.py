"""Samples that share their high noise, against whole trajectories with a scale that says the same."""

from pathlib import Path

import pytest
import torch

from patchmosaic.data.figures import figures
from patchmosaic.denoisers import MACHINES
from patchmosaic.errors import PatchMosaicError, PatchSizeError
from patchmosaic.experiments.low_noise import at_low_noise
from patchmosaic.generation import generate
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule

STEPS, BELOW, SEEDS = 6, 1.0, 5
SCHEDULE = CosineSchedule()
LOCALITY = LocalityScale.from_steps(SCHEDULE, (3, 5, 7, 9, 11, 13))


@pytest.fixture(scope="module")
def pool():
    return figures("trousers", 6, 24)


def draw(pool, machine="bbELS", sizes=(3, 23), **changes):
    return at_low_noise(machine, pool, LOCALITY, sizes, BELOW, seeds=SEEDS, steps=STEPS, **changes)


@pytest.mark.parametrize("machine", ["bbELS", "ELS", "LS"])
def test_they_are_those_of_the_whole_trajectory(pool, machine):
    drawn = draw(pool, machine)
    assert list(drawn) == [None, 3, 23]
    for size, samples in drawn.items():
        low = {
            level: size or own for level, own in zip(LOCALITY.noise_levels, LOCALITY.patch_sizes, strict=True) if level < BELOW
        }
        assert len(low) == 3
        sizes = (*low.values(), *LOCALITY.patch_sizes[3:])
        whole = MACHINES[machine](pool, LocalityScale(LOCALITY.noise_levels, sizes), schedule=SCHEDULE)
        expected = generate(whole, range(SEEDS), steps=STEPS)
        assert (samples - expected).abs().max() < 1e-5


class Killed(Exception):
    pass


def test_a_killed_call_goes_on_where_it_was(pool, tmp_path: Path):
    def kill(what, done, total):
        if what == "bbELS, P = 3":
            raise Killed

    with pytest.raises(Killed):
        draw(pool, keep=tmp_path, progress=kill)
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("seed-*")}
    assert len(finished) == SEEDS + SEEDS + 4  # high noise, the calibrated scale, and a batch of P = 3
    told = []
    again = draw(pool, keep=tmp_path, progress=lambda what, done, total: told.append((what, total)))
    assert told == [("bbELS, P = 3", 1), ("bbELS, P = 23", 4 + 1), ("bbELS, P = 23", 4 + 1)]
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())
    for size, samples in draw(pool).items():
        assert (samples - again[size]).abs().max() < 1e-5


def test_a_level_above_all_noise_changes_every_step_and_one_below_none(pool):
    everywhere = at_low_noise("bbELS", pool, LOCALITY, (5,), 1e9, seeds=2, steps=STEPS)
    expected = generate(MACHINES["bbELS"](pool, 5), range(2), steps=STEPS)
    assert (everywhere[5] - expected).abs().max() < 1e-5
    nowhere = at_low_noise("bbELS", pool, LOCALITY, (5,), 0.0, seeds=2, steps=STEPS)
    assert torch.equal(nowhere[5], nowhere[None])


def test_what_is_refused(pool):
    with pytest.raises(PatchMosaicError, match="no such machine"):
        draw(pool, "EELS")
    with pytest.raises(PatchSizeError, match="odd"):
        draw(pool, sizes=(4,))
