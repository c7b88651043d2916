"""Calibration against planted truth: a "network" that is itself a machine whose patch sizes are known."""

import json

import numpy as np
import pytest
import torch

from patchmosaic.calibration import HELD_OUT_STREAM, Calibration, calibrate
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import MACHINES, Denoiser, NetworkDenoiser
from patchmosaic.errors import CheckpointError, PatchMosaicError, PatchSizeError
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule, EDMSchedule
from patchmosaic.sampling import sample, seed_labels, seeds


def pool_of(n=8, channels=1, side=7, seed=0, labels=None):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    slopes = rng.uniform(0.3, 1.6, (2, n, channels, 1, 1))
    waves = 0.6 * np.cos(slopes[0] * rows + slopes[1] * columns) + 0.4 * rng.uniform(-1, 1, (n, channels, side, side))
    return ImageSet(torch.from_numpy(waves).float(), labels)


POOL = pool_of()
STEPS = 5


class Blend(Denoiser):
    """A "network" unlike any one machine: half of what two of them say, different for each image."""

    def __init__(self, one, other):
        self.one, self.other, self.schedule, self.image_shape = one, other, one.schedule, one.image_shape

    device = torch.device("cpu")

    def _denoise(self, x_t, t, label):
        share = (x_t[:, :1, :1, :1] > 0).to(x_t) * 0.9
        return share * self.one(x_t, t) + (1 - share) * self.other(x_t, t)

    def to(self, device):
        return self

    def describe(self):
        return {"blend": [self.one.describe(), self.other.describe()]}


@pytest.mark.parametrize("schedule", [CosineSchedule(), EDMSchedule()], ids=["cosine", "edm"])
@pytest.mark.parametrize("machine", ["LS", "ELS", "bbELS"])
def test_a_planted_scale_is_recovered(machine, schedule):
    planted = (3, 3, 7, 5, 7)
    network = MACHINES[machine](POOL, LocalityScale.from_steps(schedule, planted), schedule=schedule)
    found = calibrate(network, POOL, machine, seeds=3, steps=STEPS, patch_sizes=(3, 5, 7, 9))
    assert found.scale.patch_sizes == planted
    assert found.best.tolist() == [list(planted)] * 3
    at_planted = found.cosine[:, range(STEPS), [(3, 5, 7, 9).index(size) for size in planted]]
    torch.testing.assert_close(at_planted.double(), torch.ones(3, STEPS).double(), rtol=0, atol=1e-6)
    levels = [schedule.noise_level(torch.tensor((i + 1) / STEPS, dtype=torch.float64)).item() for i in range(STEPS)]
    assert found.noise_levels == pytest.approx(levels, rel=1e-9)
    assert list(found.noise_levels) == sorted(found.noise_levels)  # index 0 is the lowest noise


def test_a_finely_stepped_planted_scale_is_recovered_up_to_the_highest_noise():
    """Near t = 1 the scores of all patch sizes agree to 1e-8: the best is found all the same."""
    planted = (3, 3, 3, 5, 5, 5, 7, 7, 9, 9, 11, 13)
    network = MACHINES["LS"](POOL, LocalityScale.from_steps(CosineSchedule(), planted))
    found = calibrate(network, POOL, "LS", seeds=2, steps=len(planted))
    assert found.patch_sizes == (3, 5, 7)  # up to the image side; larger windows see more only from the corners
    found = calibrate(network, POOL, "LS", seeds=2, steps=len(planted), patch_sizes=range(3, 15, 2))
    assert found.scale.patch_sizes == planted


def test_cosines_are_those_of_the_scores_on_the_networks_own_trajectory():
    network = MACHINES["LS"](POOL, 5)
    sizes = (1, 3, 9)
    found = calibrate(network, POOL, "ELS", seeds=[4, 2], steps=3, patch_sizes=sizes)
    trajectory = sample(network, seeds([4, 2], POOL.image_shape, HELD_OUT_STREAM), 3)
    for step, t in enumerate(trajectory.times.tolist()):
        x_t = trajectory.states[step]
        theirs = network.score(x_t, t).flatten(1).double().numpy()
        for k, size in enumerate(sizes):
            ours = MACHINES["ELS"](POOL, size).score(x_t, t).flatten(1).double().numpy()
            expected = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(theirs, ours, strict=True)]
            np.testing.assert_allclose(found.cosine[:, 2 - step, k], expected, rtol=0, atol=1e-5)


def test_errors_are_those_of_the_scores_and_decide_where_they_are_asked():
    network = MACHINES["LS"](POOL, 5)
    sizes = (1, 3, 9)
    found = calibrate(network, POOL, "ELS", seeds=3, steps=3, patch_sizes=sizes, objective="mse")
    trajectory = sample(network, seeds(3, POOL.image_shape, HELD_OUT_STREAM), 3)
    for step, t in enumerate(trajectory.times.tolist()):
        x_t = trajectory.states[step]
        theirs = network.score(x_t, t).flatten(1).double().numpy()
        for k, size in enumerate(sizes):
            ours = MACHINES["ELS"](POOL, size).score(x_t, t).flatten(1).double().numpy()
            expected = ((ours - theirs) ** 2).sum(1) / (theirs**2).sum(1)
            np.testing.assert_allclose(found.error[:, 2 - step, k], expected, rtol=1e-3, atol=1e-7)
    best = np.array(sizes)[found.error.numpy().argmin(-1)]
    assert np.array_equal(found.best.numpy(), best)
    assert found.scale.patch_sizes == tuple(np.median(best, axis=0).astype(int).tolist())
    by_cosine = calibrate(network, POOL, "ELS", seeds=3, steps=3, patch_sizes=sizes)
    assert found.fitted("cosine").scale == by_cosine.scale
    assert by_cosine.fitted("mse").scale == found.scale
    assert by_cosine.fitted("mse", monotone=True).scale == found.scale.monotone()


@pytest.mark.parametrize("machine", ["LS", "bbELS"])
def test_a_planted_scale_is_recovered_by_squared_error(machine):
    planted = (3, 3, 7, 5, 7)
    network = MACHINES[machine](POOL, LocalityScale.from_steps(CosineSchedule(), planted))
    found = calibrate(network, POOL, machine, seeds=2, steps=STEPS, patch_sizes=(3, 5, 7, 9), objective="mse")
    assert found.scale.patch_sizes == planted
    assert found.error.amin(-1).max() < 1e-9


def test_an_objective_of_which_nothing_is_known_is_refused():
    levels = (0.1, 1.0)
    scale = LocalityScale(levels, (3, 3))
    old = Calibration("LS", scale, levels, (3, 5), torch.rand(2, 2, 2, dtype=torch.float64))
    with pytest.raises(PatchMosaicError, match=r"no squared errors.*Calibrate again"):
        old.fitted("mse")


def test_the_scale_is_the_compared_size_nearest_the_median_and_halves_go_up():
    network = Blend(MACHINES["LS"](POOL, 3), MACHINES["LS"](POOL, 9))
    sizes = np.array([1, 3, 5, 7, 9])
    for count in (1, 2, 5, 6):
        found = calibrate(network, POOL, "LS", seeds=count, steps=4, patch_sizes=(9, 1, 5, 3, 7))
        best = np.array([9, 1, 5, 3, 7])[found.cosine.numpy().argmax(-1)]
        assert np.array_equal(found.best.numpy(), best)
        median = np.median(best, axis=0)
        upwards = sizes[np.abs(sizes[None] - median[:, None] - 1e-6).argmin(1)]
        assert found.scale.patch_sizes == tuple(upwards.tolist())
    assert len(np.unique(best)) > 1


def test_monotone_replaces_the_scale_only():
    network = MACHINES["LS"](POOL, LocalityScale.from_steps(CosineSchedule(), (3, 7, 5, 9, 3)))
    plain = calibrate(network, POOL, "LS", seeds=2, steps=STEPS, patch_sizes=(3, 5, 7, 9))
    monotone = calibrate(network, POOL, "LS", seeds=2, steps=STEPS, patch_sizes=(3, 5, 7, 9), monotone=True)
    assert plain.scale.patch_sizes == (3, 7, 5, 9, 3)
    assert monotone.scale.patch_sizes == (3, 7, 7, 9, 9)
    assert torch.equal(monotone.cosine, plain.cosine)


def test_spread_holds_the_central_seeds():
    sizes = (3, 5, 7, 9, 11)
    cosine = torch.eye(5)[:, None, :].expand(5, 2, 5).clone()  # seed i likes size i best, at either step
    scale = LocalityScale((0.1, 1.0), (7, 7)).to_json()
    found = Calibration.from_json(
        {"machine": "LS", "scale": scale, "noise_levels": [0.1, 1.0], "patch_sizes": sizes, "cosine": cosine.tolist()}
    )
    assert found.spread() == ([5.0, 5.0], [9.0, 9.0])
    assert found.spread(1.0) == ([3.0, 3.0], [11.0, 11.0])
    assert found.spread(0.0) == ([7.0, 7.0], [7.0, 7.0])


def test_a_conditional_network_is_calibrated_class_by_class():
    pool = pool_of(labels=[0, 0, 0, 1, 1, 1, 1, 1])
    network = MACHINES["LS"](pool, 5)
    found = calibrate(network, pool, "LS", seeds=4, steps=2, patch_sizes=(3, 5))
    assert found.scale.patch_sizes == (5, 5)
    labels = seed_labels(4, pool.classes, HELD_OUT_STREAM)
    assert len(labels.unique()) == 2
    x_T = seeds(4, pool.image_shape, HELD_OUT_STREAM)
    theirs = network.score(x_T, 1.0, labels).flatten(1).double()
    ours = MACHINES["LS"](pool, 3).score(x_T, 1.0, labels).flatten(1).double()
    expected = torch.nn.functional.cosine_similarity(ours, theirs)
    torch.testing.assert_close(found.cosine[:, 1, 0].double(), expected, rtol=0, atol=1e-6)
    unconditional = calibrate(network, pool, "LS", seeds=4, steps=2, patch_sizes=(3, 5), conditional=False)
    assert (unconditional.cosine[..., 0] - found.cosine[..., 0]).abs().max() > 1e-6


def test_neither_batches_nor_budget_matter(monkeypatch):
    network = MACHINES["LS"](POOL, 5)

    def run(**options):
        return calibrate(network, POOL, "ELS", seeds=3, steps=3, patch_sizes=(3, 7), **options).cosine

    torch.testing.assert_close(run(batch_size=1), run(), rtol=0, atol=1e-5)
    whole = run()
    monkeypatch.setenv("PATCHMOSAIC_NATIVE", "0")  # the kernel needs its room for each thread, however many there are
    torch.testing.assert_close(run(memory_budget=60_000), whole, rtol=0, atol=1e-5)


def test_calibration_and_comparison_share_no_seed():
    held_out, compared = seeds(50, (1, 2, 2), HELD_OUT_STREAM), seeds(50, (1, 2, 2))
    assert (held_out[:, None] - compared).abs().amax((2, 3, 4)).min() > 1e-3


def test_finished_seeds_are_kept(tmp_path):
    calls = []

    class Counted(MACHINES["LS"]):
        def _denoise(self, x_t, t, label):
            calls.append(len(x_t))
            return super()._denoise(x_t, t, label)

    def run(count, **options):
        calls.clear()
        return calibrate(Counted(POOL, 5), POOL, "LS", count, 3, keep=tmp_path, **{"patch_sizes": (3, 5), **options})

    first = run(2)
    assert sum(calls) == 2 * 3
    assert torch.equal(run(2).cosine, first.cosine)
    assert sum(calls) == 0
    assert torch.equal(run(4).cosine[:2], first.cosine)
    assert sum(calls) == 2 * 3
    run(2, patch_sizes=(3, 7))
    assert sum(calls) == 2 * 3


def test_progress_reaches_the_end():
    seen = []
    calibrate(
        MACHINES["LS"](POOL, 3),
        POOL,
        "LS",
        seeds=3,
        steps=2,
        patch_sizes=(3,),
        batch_size=2,
        progress=lambda *call: seen.append(call),
    )
    assert [done for _, done, _ in seen] == [2, 4, 5, 6]
    assert {call[::2] for call in seen} == {("calibrating LS", 6)}


def test_sizes_default_to_the_odd_ones_up_to_the_image_or_the_receptive_field():
    class Blind(torch.nn.Module):
        def forward(self, x_t, t):
            return 0.1 * x_t

    module = Blind()
    network = NetworkDenoiser(module, "x0", image_shape=POOL.image_shape)
    assert calibrate(network, POOL, "LS", seeds=1, steps=1).patch_sizes == (3, 5, 7)
    for field, sizes in [(5, (3, 5)), (6, (3, 5)), (44, (3, 5, 7)), (1, (3,))]:
        module.receptive_field = field
        assert calibrate(network, POOL, "LS", seeds=1, steps=1).patch_sizes == sizes


def test_json_and_file_round_trip(tmp_path):
    found = calibrate(MACHINES["LS"](POOL, 5), POOL, "LS", seeds=2, steps=3, patch_sizes=(3, 5))
    found.save(tmp_path / "LS.json")
    json.loads((tmp_path / "LS.json").read_text())
    for again in (Calibration.from_json(json.loads(json.dumps(found.to_json()))), Calibration.load(tmp_path / "LS.json")):
        assert (again.machine, again.scale, again.noise_levels, again.patch_sizes) == (
            found.machine,
            found.scale,
            found.noise_levels,
            found.patch_sizes,
        )
        assert torch.equal(again.cosine, found.cosine)
        assert torch.equal(again.error, found.error)
        assert again.objective == found.objective
        assert torch.equal(again.best, found.best)


@pytest.mark.parametrize("record", [{}, {"machine": "LS"}, {"machine": "LS", "scale": {}}])
def test_other_json_is_refused(record):
    with pytest.raises(CheckpointError, match="not a"):
        Calibration.from_json(record)


@pytest.mark.parametrize("machine", ["IS", "Wiener", "ES", "ls", ""])
def test_only_patch_machines_have_a_scale(machine):
    with pytest.raises(PatchMosaicError, match="LS, ELS or bbELS"):
        calibrate(MACHINES["LS"](POOL, 3), POOL, machine, seeds=1, steps=1)


def test_there_must_be_possible_sizes_and_a_seed():
    network = MACHINES["LS"](POOL, 3)
    with pytest.raises(PatchSizeError, match="must be a patch size"):
        calibrate(network, POOL, "LS", seeds=1, steps=1, patch_sizes=())
    for sizes in ((4,), (3, 4)):
        with pytest.raises(PatchSizeError, match=r"odd.*got 4"):
            calibrate(network, POOL, "LS", seeds=1, steps=1, patch_sizes=sizes)
    for nobody in (0, []):
        with pytest.raises(PatchMosaicError):
            calibrate(network, POOL, "LS", seeds=nobody, steps=1)
