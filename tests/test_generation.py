"""generate: the samples of `sample`, seed by seed, each made once."""

import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, LocalDenoiser
from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.generation import generate
from patchmosaic.noise import EDMSchedule
from patchmosaic.sampling import sample, seeds, step_noise

SHAPE = (1, 4, 4)
POOL = ImageSet(torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1, [0, 1] * 4)
STEPS = 5


class Counted(LocalDenoiser):
    """LS that counts how many images it has denoised, and can be killed after some."""

    def __init__(self, *arguments, fail_after=10**9, **options):
        super().__init__(*arguments, **options)
        self.images, self.fail_after = 0, fail_after

    def _denoise(self, x_t, t, label):
        self.images += len(x_t)
        if self.images > self.fail_after:
            raise KeyboardInterrupt
        return super()._denoise(x_t, t, label)


@pytest.mark.parametrize("schedule", [None, EDMSchedule()])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_these_are_the_samples_whatever_the_batch(batch_size, schedule):
    denoiser = LocalDenoiser(POOL, 3, schedule=schedule)
    numbers = [4, 0, 9, 2, 11]
    expected = sample(denoiser, seeds(numbers, SHAPE, 3) * denoiser.schedule.prior_std(), STEPS).x0
    drawn = generate(denoiser, numbers, steps=STEPS, seed=3, batch_size=batch_size)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("how", [{"eta": 0.8}, {"solver": "heun"}], ids=["eta", "heun"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_way_of_sampling_is_that_of_sample(how, batch_size):
    numbers, denoiser = [4, 0, 9], LocalDenoiser(POOL, 3)
    noise = step_noise(numbers, SHAPE, 3) if "eta" in how else None
    expected = sample(denoiser, seeds(numbers, SHAPE, 3), STEPS, **how, noise=noise).x0
    drawn = generate(denoiser, numbers, steps=STEPS, seed=3, batch_size=batch_size, **how)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-4)


def test_labels_go_with_their_seeds():
    labels = torch.tensor([1, 0, 1])
    drawn = generate(IdealDenoiser(POOL), [5, 6, 5], steps=STEPS, labels=labels, batch_size=2)
    expected = sample(IdealDenoiser(POOL), seeds([5, 6, 5], SHAPE), STEPS, labels).x0
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-5)
    other = generate(IdealDenoiser(POOL), [5], steps=STEPS, labels=torch.tensor([0]))
    assert (other - drawn[:1]).abs().max() > 0.1


def test_a_second_call_does_only_what_is_missing(tmp_path):
    denoiser = Counted(POOL, 3)
    first = generate(denoiser, [0, 1, 2], steps=STEPS, keep=tmp_path, batch_size=2)
    assert denoiser.images == 3 * STEPS
    again = generate(denoiser, [2, 0, 1], steps=STEPS, keep=tmp_path)
    assert denoiser.images == 3 * STEPS
    assert torch.equal(again, first[[2, 0, 1]])
    generate(denoiser, [1, 7, 8], steps=STEPS, keep=tmp_path)
    assert denoiser.images == 5 * STEPS


def test_without_a_folder_nothing_is_remembered():
    denoiser = Counted(POOL, 3)
    for calls in (1, 2):
        generate(denoiser, [0], steps=STEPS)
        assert denoiser.images == calls * STEPS


@pytest.mark.parametrize(
    "other",
    [
        {"steps": STEPS + 1},
        {"seed": 1},
        {"labels": torch.tensor([0])},
        {"name": "others"},
        {"eta": 0.5},
        {"solver": "heun"},
    ],
)
def test_another_question_is_not_answered_with_the_old_result(tmp_path, other):
    denoiser = Counted(POOL, 3)
    generate(denoiser, [0], steps=STEPS, keep=tmp_path)
    before = denoiser.images
    fresh = generate(denoiser, [0], **{"steps": STEPS, **other}, keep=tmp_path)
    assert denoiser.images > before
    torch.testing.assert_close(fresh, generate(denoiser, [0], **{"steps": STEPS, **other}))


def test_another_denoiser_is_not_answered_with_the_old_result(tmp_path):
    generate(LocalDenoiser(POOL, 3), [0], steps=STEPS, keep=tmp_path)
    for other in (LocalDenoiser(POOL, 5), LocalDenoiser(ImageSet(-POOL.images, POOL.labels), 3)):
        fresh = generate(other, [0], steps=STEPS, keep=tmp_path)
        torch.testing.assert_close(fresh, generate(other, [0], steps=STEPS))


def test_a_killed_job_loses_one_batch(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        generate(Counted(POOL, 3, fail_after=4 * STEPS + 3), range(6), steps=STEPS, batch_size=2, keep=tmp_path)
    denoiser = Counted(POOL, 3)
    drawn = generate(denoiser, range(6), steps=STEPS, batch_size=2, keep=tmp_path)
    assert denoiser.images == 2 * STEPS
    torch.testing.assert_close(drawn, generate(LocalDenoiser(POOL, 3), range(6), steps=STEPS), rtol=0, atol=1e-4)


def test_a_damaged_sample_is_named(tmp_path):
    generate(LocalDenoiser(POOL, 3), [2], steps=STEPS, keep=tmp_path)
    (path,) = tmp_path.glob("*/seed-000002*")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="seed-000002"):
        generate(LocalDenoiser(POOL, 3), [2], steps=STEPS, keep=tmp_path)


def test_progress_counts_up_to_the_work_that_was_left(tmp_path):
    generate(LocalDenoiser(POOL, 3), [0], steps=STEPS, keep=tmp_path)
    seen = []
    generate(
        LocalDenoiser(POOL, 3),
        [0, 1, 2, 3],
        steps=STEPS,
        batch_size=2,
        keep=tmp_path,
        name="samples",
        progress=lambda *call: seen.append(call),
    )
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert {(what, total) for what, _, total in seen} == {("samples", 3 * STEPS)}
    assert seen[-1][1] == 3 * STEPS


def test_there_must_be_a_seed():
    with pytest.raises(PatchMosaicError):
        generate(LocalDenoiser(POOL, 3), [], steps=STEPS)
