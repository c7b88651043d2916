"""LocalityScale: keyed by noise level, so that no index can be shifted against another."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmosaic.errors import CheckpointError, NoiseLevelError, PatchSizeError
from patchmosaic.locality import LocalityScale, check_patch_size
from patchmosaic.noise import CosineSchedule, EDMSchedule, FlowMatchingSchedule, OffsetCosineSchedule

# REFERENCE: CIFAR ResNet with zero padding, index 0 the lowest noise.
CIFAR = (3, 3, 3, 3, 5, 5, 5, 7, 7, 7, 7, 9, 9, 11, 11, 13, 15, 17, 17, 17)

sizes_at_levels = st.dictionaries(st.floats(1e-4, 1e4), st.sampled_from([1, 3, 5, 9]), min_size=1, max_size=8)


def scale_of(table):
    return LocalityScale(tuple(sorted(table)), tuple(table[level] for level in sorted(table)))


def test_between_two_levels_the_nearer_in_log_noise_decides():
    scale = LocalityScale((0.01, 1.0, 100.0), (3, 5, 7))
    # The geometric means .1 and 10 are the borders; the arithmetic ones would be .5 and 50.
    for level, size in [(0.01, 3), (0.099, 3), (0.101, 5), (0.4, 5), (1.0, 5), (9.9, 5), (10.1, 7), (40.0, 7), (100.0, 7)]:
        assert scale(level) == size


@given(table=sizes_at_levels, level=st.floats(1e-8, 1e6))
def test_lookup_is_the_nearest_by_brute_force(table, level):
    scale = scale_of(table)
    distances = [max(level / known, known / level) for known in scale.noise_levels]
    nearest = [size for size, distance in zip(scale.patch_sizes, distances, strict=True) if distance <= min(distances) * 1.0001]
    assert scale(level) in nearest


def test_levels_beyond_the_ends_take_the_end():
    scale = LocalityScale((0.1, 10.0), (3, 9))
    assert scale(0.0) == scale(1e-9) == 3
    assert scale(1e9) == scale(math.inf) == 9


@pytest.mark.parametrize("schedule", [FlowMatchingSchedule(), OffsetCosineSchedule()])
def test_infinite_noise_can_be_kept(schedule):
    scale = LocalityScale.from_steps(schedule, (3, 5, 7))
    assert schedule.noise_level(1.0).item() == math.inf
    assert [scale(float(schedule.noise_level(t))) for t in (1 / 3, 2 / 3, 1.0)] == [3, 5, 7]
    assert all(math.isfinite(level) for level in scale.noise_levels)
    assert LocalityScale.from_json(json.loads(json.dumps(scale.to_json(), allow_nan=False))) == scale


def test_published_tables_are_not_shifted_by_one():
    schedule = CosineSchedule()
    scale = LocalityScale.from_steps(schedule, CIFAR)
    read = [scale(float(schedule.noise_level(i / 20))) for i in range(1, 21)]
    assert read == list(CIFAR)
    # The trap: t = i/n read at index i gives the size of the next noisier step, 5 in place of 3 at t = 4/20.
    assert scale(float(schedule.noise_level(4 / 20))) == 3
    assert scale(float(schedule.noise_level(5 / 20))) == 5


def test_a_scale_means_the_same_on_another_schedule_with_other_steps():
    cosine, edm = CosineSchedule(), EDMSchedule()
    scale = LocalityScale.from_steps(cosine, CIFAR)
    for i in range(1, 21):
        t = edm.time_of_snr(cosine.snr(i / 20)).item()
        if 0 < t < 1:
            assert scale(float(edm.noise_level(t))) == CIFAR[i - 1]


def test_monotone_is_the_running_maximum():
    scale = LocalityScale((1.0, 2.0, 3.0, 4.0, 5.0), (3, 7, 5, 9, 3))
    assert scale.monotone() == LocalityScale((1.0, 2.0, 3.0, 4.0, 5.0), (3, 7, 7, 9, 9))


@given(table=sizes_at_levels)
def test_monotone_never_shrinks_and_is_no_larger_than_need_be(table):
    scale = scale_of(table)
    sizes = scale.monotone().patch_sizes
    assert sizes == tuple(max(scale.patch_sizes[: i + 1]) for i in range(len(sizes)))


@pytest.mark.parametrize("levels", [(0.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (1e7, 1e8)])
def test_levels_must_be_positive_and_increasing(levels):
    with pytest.raises(NoiseLevelError, match="positive and strictly increasing"):
        LocalityScale(levels, (3, 5))


@pytest.mark.parametrize(("levels", "sizes"), [((), ()), ((1.0,), (3, 5)), ((1.0, 2.0), (3,))])
def test_there_is_one_size_for_each_level(levels, sizes):
    with pytest.raises(NoiseLevelError, match=f"{len(levels)} levels and {len(sizes)} sizes"):
        LocalityScale(levels, sizes)


@pytest.mark.parametrize(("size", "hint"), [(0, "Try 1 or 3"), (-3, "Try 1 or 3"), (2, "Try 1 or 3"), (64, "Try 63 or 65")])
def test_patch_sizes_must_be_odd(size, hint):
    with pytest.raises(PatchSizeError, match=f"odd.*got {size}.*{hint}"):
        LocalityScale((1.0,), (size,))
    with pytest.raises(PatchSizeError, match=hint):
        check_patch_size(size)
    assert check_patch_size(3) == 3


@given(table=sizes_at_levels)
def test_json_round_trip(table):
    scale = scale_of(table)
    assert LocalityScale.from_json(json.loads(json.dumps(scale.to_json()))) == scale


def test_file_round_trip(tmp_path):
    scale = LocalityScale.from_steps(CosineSchedule(), CIFAR)
    scale.save(tmp_path / "scale.json")
    assert LocalityScale.load(tmp_path / "scale.json") == scale
    with pytest.raises(CheckpointError, match="calibrate"):
        LocalityScale.load(tmp_path / "other.json")


@pytest.mark.parametrize("record", [{}, {"noise_levels": [1.0]}, {"noise_levels": 1.0, "patch_sizes": [3]}])
def test_other_json_is_refused(record):
    with pytest.raises(CheckpointError, match="not a locality scale"):
        LocalityScale.from_json(record)
