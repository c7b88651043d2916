import pytest
import torch

from patchmosaic.app import subjects
from patchmosaic.app.subjects import TOY, names, open_subject, toy
from patchmosaic.denoisers import EquivariantLocalDenoiser, IdealDenoiser
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule
from patchmosaic.progress import silent
from patchmosaic.sampling import sample, seeds


def test_what_was_asked_for_comes_first_and_nothing_twice(monkeypatch, tmp_path):
    monkeypatch.setenv("PATCHMOSAIC_DATA", str(tmp_path))
    assert names(None) == [TOY, "digits"]
    assert names("digits") == ["digits", TOY]
    assert names("runs/mine") == ["runs/mine", TOY, "digits"]


def test_the_toy_is_the_papers():
    """The local machine draws mosaics in which each pixel has the colour of its 3x3 majority; the ideal one copies."""
    subject = toy()
    x_T = seeds(4, subject.pool.image_shape) * subject.schedule.prior_std()
    local = sample(EquivariantLocalDenoiser(subject.pool, 3, schedule=subject.schedule), x_T, subject.steps).x0
    assert float((local.abs() > 0.999).double().mean()) > 0.99
    padded = torch.nn.functional.pad(local, (1, 1, 1, 1), mode="circular")
    assert float((torch.nn.functional.avg_pool2d(padded, 3, stride=1).sign() == local.sign()).double().mean()) > 0.99
    assert all(0.1 < float((one > 0).double().mean()) < 0.9 for one in local)
    ideal = sample(IdealDenoiser(subject.pool, schedule=subject.schedule), x_T, subject.steps).x0
    assert all(len(one.sign().unique()) == 1 for one in ideal)


def test_the_toy_begins_with_a_white_pixel_that_was_in_doubt():
    subject = toy()
    x_T = seeds([0], subject.pool.image_shape) * subject.schedule.prior_std()
    (drawn,) = sample(EquivariantLocalDenoiser(subject.pool, 3, schedule=subject.schedule), x_T, subject.steps).x0
    row, column = subject.pixel
    assert float(drawn[0, row, column]) > 0.99
    assert int((drawn[0, row - 1 : row + 2, column - 1 : column + 2] > 0).sum()) == 5


@pytest.mark.parametrize(("side", "steps", "largest"), [(8, 5, 7), (32, 20, 31), (28, 1, 3), (3, 4, 3)])
def test_patch_sizes_that_shrink_with_the_noise(side, steps, largest):
    scale = LocalityScale.shrinking(CosineSchedule(), side, steps)
    assert len(scale.patch_sizes) == steps
    assert scale.patch_sizes[0] == 3
    assert scale.patch_sizes[-1] == largest
    assert sorted(scale.patch_sizes) == list(scale.patch_sizes)
    assert all(size % 2 for size in scale.patch_sizes)


def test_a_large_set_is_begun_with_its_first_images(monkeypatch):
    monkeypatch.setattr(subjects, "QUICK", 50)
    subject = open_subject("digits", None, "cpu", silent)
    assert (len(subject.pool), subject.usual, subject.total) == (50, 50, 1797)
    assert len(open_subject("digits", 60, "cpu", silent).pool) == 60


def test_results_of_other_studies_are_no_comparisons():
    other = {"families": {"mean": 1.0}, "seconds": 3}
    assert subjects._comparisons(other) == {}
    comparison = {"20": {"network_steps": 20, "summary": {}}}
    assert subjects._comparisons(comparison) == comparison
