"""`sample` in several processes gives what one gives; killed in any of them, the same command goes on from the last step."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import patchmosaic.generation
from patchmosaic.cli.main import app
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import LocalDenoiser
from patchmosaic.errors import CheckpointError
from patchmosaic.generation import generate
from patchmosaic.sampling import ddim
from patchmosaic.store import Batch, SeedStore

SAMPLE = ["sample", "digits", "--denoiser", "bbELS", "--patch-size", "3", "--limit", "60", "--steps", "4"]
# Seeds 0 to 5 are drawn four and two at a time: eight steps in all.
SEEDS = ["--seeds", "6"]


def torchrun(*arguments, **environment):
    """Two processes, one thread each, over the loopback interface."""
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **loopback, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process draws."""
    folder = tmp_path_factory.mktemp("alone")
    assert CliRunner().invoke(app, [*SAMPLE, *SEEDS, "--out", str(folder)]).exit_code == 0
    return load_file(folder / "samples.safetensors")


def close(folder, alone):
    samples = load_file(folder / "samples.safetensors")
    # A process under torchrun has one thread, this one as many as there are: single pixels may differ by float32's last digits.
    difference = (samples["images"] - alone["images"]).flatten(1).norm(dim=1) / alone["images"].flatten(1).norm(dim=1)
    assert difference.max() < 1e-6
    assert torch.equal(samples["labels"], alone["labels"])


def test_two_processes_that_share_seeds_draw_what_one_draws(tmp_path, alone):
    result = torchrun("-m", "patchmosaic", *SAMPLE, *SEEDS, "--shards", 1, "--out", tmp_path, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["seeds"] == 6  # one object: the other process is silent
    assert len([line for line in result.stderr.splitlines() if "bbELS" in line]) == 1
    close(tmp_path, alone)


# Notes every call of each rank in a file of its name, and kills rank 1 when both are in the call KILL_AT.
KILLER = """
import os, signal, time
from pathlib import Path

import patchmosaic.generation
from patchmosaic.cli.main import main
from patchmosaic.denoisers import PosteriorDenoiser

notes, rank, kill_at = Path(os.environ["NOTES"]), os.environ["RANK"], int(os.environ["KILL_AT"])
denoise = PosteriorDenoiser._denoise

def calls(rank):
    return len((notes / rank).read_text().splitlines()) if (notes / rank).exists() else 0

def noted(self, x_t, t, label):
    with (notes / rank).open("a") as file:
        file.write(f"{float(t[0])} {len(x_t)}\\n")
    if rank == "1" and calls("1") == kill_at:
        while calls("0") < kill_at:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return denoise(self, x_t, t, label)

PosteriorDenoiser._denoise = noted
patchmosaic.generation.SAVE_EVERY = 0.0
main()
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A job of which rank 1 was killed in the third step of the second batch: the script, the output folder, the result."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "notes").mkdir()
    (folder / "killer.py").write_text(KILLER)
    command = [folder / "killer.py", *SAMPLE, *SEEDS, "--out", folder / "out"]
    return folder, command, torchrun(*command, NOTES=str(folder / "notes"), KILL_AT="7")


def test_a_killed_process_ends_the_job_with_a_message(killed):
    folder, _, result = killed
    assert result.returncode != 0
    assert result.stderr.count("Error: rank 1 of 2 died. The same command takes up after the last finished step.") == 1
    assert not (folder / "out" / "samples.safetensors").exists()


def test_the_same_command_goes_on_after_the_last_finished_step(killed, tmp_path, alone):
    folder, command, _ = killed
    result = torchrun(*command, NOTES=str(tmp_path), KILL_AT="100")
    assert result.returncode == 0, result.stderr
    # Four steps of the first batch and two of the second were done: the other two are left.
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["0.5 2\n0.25 2\n"] * 2
    close(folder / "out", alone)
    assert not list(folder.rglob("unfinished*"))


def test_other_verbs_do_not_run_as_several_processes():
    result = subprocess.run(
        [sys.executable, "-m", "patchmosaic", "doctor"],
        env={**os.environ, "WORLD_SIZE": "2", "RANK": "0"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "only sample" in result.stderr


# --- one process -------------------------------------------------------------------------------------------------------

STEPS = 6
POOL = ImageSet(torch.rand(9, 1, 5, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1, [0, 1, 1] * 3)
LABELS = torch.tensor([0, 1, 1, 0, 1])


class Stopped(Exception):
    pass


def draw(folder, stop_after=10**9, numbers=range(5), labels=LABELS, batch_size=3):
    """The samples and the steps that were done for them; stopped after some."""
    steps = []

    def progress(what, done, total):
        steps.append((done, total))
        if len(steps) == stop_after:
            raise Stopped

    machine = LocalDenoiser(POOL, 3)
    arguments = {"steps": STEPS, "labels": labels, "batch_size": batch_size, "progress": progress}
    try:
        return generate(machine, numbers, keep=folder, **arguments), steps
    except Stopped:
        return None, steps


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(patchmosaic.generation, "SAVE_EVERY", -1.0)


@pytest.mark.parametrize("stop_after", [1, 4, STEPS - 1, STEPS, STEPS + 2])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_a_stopped_job_ends_with_the_same_bits(tmp_path, every_step, stop_after, labels):
    whole, steps = draw(tmp_path / "whole", labels=labels)
    assert len(steps) == 2 * STEPS
    draw(tmp_path / "stopped", stop_after, labels=labels)
    again, steps = draw(tmp_path / "stopped", labels=labels)
    assert torch.equal(again, whole)
    # The last step of a batch is not saved but followed by its samples: stopped between the two, that step is done again.
    assert len(steps) == 2 * STEPS - stop_after + (stop_after % STEPS == 0)
    assert steps[-1][0] == steps[-1][1]


def test_a_job_stopped_twice_and_for_other_seeds_in_between(tmp_path, every_step):
    whole, _ = draw(tmp_path / "whole")
    draw(tmp_path / "stopped", 2)
    draw(tmp_path / "stopped", 2)
    # Seed 9 alone has nothing to do with the batch at work, which is given up for it.
    _, steps = draw(tmp_path / "stopped", 3, numbers=[9], labels=LABELS[:1])
    assert steps[0] == (1, STEPS)
    again, steps = draw(tmp_path / "stopped")
    assert len(steps) == 2 * STEPS
    assert torch.equal(again, whole)


def test_short_steps_are_not_saved(tmp_path):
    draw(tmp_path, 4)
    assert not list(tmp_path.rglob("unfinished*"))


def test_a_trajectory_goes_on_from_any_step():
    machine = LocalDenoiser(POOL, 3)
    x_T = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    whole = list(ddim(machine, x_T, STEPS))
    for done in range(STEPS):
        rest = list(ddim(machine, whole[done].x_t, STEPS, done=done))
        assert [step.t for step in rest] == [step.t for step in whole[done:]]
        assert torch.equal(rest[-1].x_next, whole[-1].x_next)


def test_the_batch_at_work_is_kept_as_it_is(tmp_path):
    store = SeedStore(tmp_path, "samples", {})
    assert store.batch() is None
    x_t = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    for batch in (Batch([(5, None), (0, None)], 3, x_t), Batch([(5, 2), (0, 0)], 1, x_t.mT)):
        store.put_batch(batch)
        kept = SeedStore(tmp_path, "samples", {}).batch()
        assert (kept.keys, kept.done) == (batch.keys, batch.done)
        assert torch.equal(kept.x_t, batch.x_t)
    assert store.missing([(5, 2)]) == [(5, 2)]
    save_file({"x_t": x_t}, next(tmp_path.rglob("unfinished*")))
    with pytest.raises(CheckpointError, match=r"damaged.*unfinished.*Delete the file"):
        store.batch()
    store.put_batch(None)
    store.put_batch(None)
    assert store.batch() is None
