"""A run that was stopped or killed ends with the weights of one that was not, bit for bit."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import CheckpointError
from patchmosaic.networks import Network, ResNet, TrainingResult, TrainingSettings, snapshots_in, train
from patchmosaic.noise import CosineSchedule, FlowMatchingSchedule

SETTINGS = TrainingSettings(steps=12, batch_size=5, learning_rate=1e-3)
STATE = "training.safetensors"


def pool(seed: int = 0) -> ImageSet:
    images = 2 * torch.rand((7, 1, 8, 8), generator=torch.Generator().manual_seed(seed)) - 1
    return ImageSet(images, labels=torch.arange(7) % 2)


def network(**changes: Any) -> ResNet:
    return ResNet(**{"channels": 1, "width": 16, "depth": 2, "num_classes": 2, **changes})


def same_weights(one: Network, two: Network) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


class Stopped(Exception):
    pass


def stop_at(step: int) -> Any:
    def progress(what: str, done: int, total: int) -> None:
        if done == step:
            raise Stopped

    return progress


def stopped_run(folder: Path, step: int, settings: TrainingSettings = SETTINGS, **changes: Any) -> None:
    with pytest.raises(Stopped):
        train(network(**changes), pool(), CosineSchedule(), settings, folder, save_every=0.0, progress=stop_at(step))


def resumed(folder: Path, settings: TrainingSettings = SETTINGS, **changes: Any) -> tuple[ResNet, TrainingResult]:
    module = network(seed=99, **changes)  # other first weights: the state's must replace them
    return module, train(module, pool(), CosineSchedule(), settings, folder)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("changes", [{}, {"padding": "circular", "num_classes": None}])
def test_a_stopped_run_ends_as_if_never_stopped(tmp_path: Path, precision: Any, changes: dict[str, Any]) -> None:
    settings = replace(SETTINGS, precision=precision)
    whole = network(**changes)
    losses = train(whole, pool(), CosineSchedule(), settings).losses
    for step in (1, 6, 9):  # the same folder: stopped three times
        stopped_run(tmp_path, step, settings, **changes)
    module, result = resumed(tmp_path, settings, **changes)
    # The state is saved before progress is told, so each run goes on just after where the last was stopped.
    assert result.resumed_from == 9
    assert same_weights(module, whole)
    assert torch.equal(result.losses, losses)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == losses.tolist()


def test_a_run_stopped_before_its_first_snapshot_starts_again(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(network(), pool(), CosineSchedule(), SETTINGS, tmp_path, progress=stop_at(3))
    whole, again = network(), network()
    train(whole, pool(), CosineSchedule(), SETTINGS)
    result = train(again, pool(), CosineSchedule(), SETTINGS, tmp_path)
    assert result.resumed_from == 0
    assert same_weights(again, whole)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == SETTINGS.steps


def test_a_finished_run_is_only_loaded(tmp_path: Path) -> None:
    first = network()
    losses = train(first, pool(), CosineSchedule(), SETTINGS, tmp_path).losses
    module = network(seed=99)
    result = train(module, pool(), CosineSchedule(), SETTINGS, tmp_path, progress=stop_at(SETTINGS.steps))
    assert result.resumed_from == SETTINGS.steps
    assert same_weights(module, first)
    assert torch.equal(result.losses, losses)


CHILD = """
import sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_resume as here
torch.set_num_threads(int(sys.argv[3]))
told = lambda what, done, total: print(done, flush=True)
arguments = (here.network(), here.pool(), here.CosineSchedule(), here.LONG, Path(sys.argv[2]))
here.train(*arguments, snapshots=here.SNAPSHOTS, save_every=0.0, progress=told)
"""
LONG = replace(SETTINGS, steps=120, ema_half_life=50.0)
SNAPSHOTS = tuple(range(0, 121, 3))


def test_a_run_killed_at_random_moments_ends_as_if_never_killed(tmp_path: Path) -> None:
    """Weights, their average and every snapshot; snapshots that were there when it was killed are left as they are."""
    folder, killed = tmp_path / "killed", 0
    for _ in range(2):
        command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(folder), str(torch.get_num_threads())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(random.randint(1, 30)):
                child.stdout.readline()
            time.sleep(random.uniform(0, 0.02))  # anywhere in a step, or in the writing of its state
            child.send_signal(signal.SIGKILL)
            child.stdout.read()
        killed += child.returncode == -signal.SIGKILL
    assert killed == 2
    written = {place: (place / "network.json").stat().st_mtime_ns for place in snapshots_in(folder).values()}
    module = network(seed=99)
    result = train(module, pool(), CosineSchedule(), LONG, folder, snapshots=SNAPSHOTS)
    assert 0 < result.resumed_from < LONG.steps
    whole = network()
    expected = train(whole, pool(), CosineSchedule(), LONG, tmp_path / "whole", snapshots=SNAPSHOTS)
    assert torch.equal(expected.losses, result.losses)
    assert same_weights(module, whole)
    assert result.average is not None
    assert expected.average is not None
    assert same_weights(result.average, expected.average)
    assert not same_weights(result.average, module)
    for one, other in zip(snapshots_in(folder).items(), snapshots_in(tmp_path / "whole").items(), strict=True):
        assert one[0] == other[0]
        for name in ("weights.safetensors", "network.json", "raw/weights.safetensors", "raw/network.json"):
            assert (one[1] / name).read_bytes() == (other[1] / name).read_bytes()
    assert {place: (place / "network.json").stat().st_mtime_ns for place in written} == written
    assert {path.name for path in (folder / "snapshots").iterdir()} == {f"step-{step:06d}" for step in SNAPSHOTS}
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, LONG.steps + 1))


def test_a_run_with_another_average_is_another_run(tmp_path: Path) -> None:
    stopped_run(tmp_path, 2)
    with pytest.raises(CheckpointError, match=r"settings.ema_half_life None \(now 9.0\)"):
        resumed(tmp_path, replace(SETTINGS, ema_half_life=9.0))


def test_another_run_in_the_folder_is_an_error_that_says_what_differs(tmp_path: Path) -> None:
    stopped_run(tmp_path, 2)
    before = (tmp_path / STATE).read_bytes()
    for module, images, schedule, settings, message in (
        (network(width=24), pool(), CosineSchedule(), SETTINGS, r"network.width 16 \(now 24\)"),
        (network(), pool(1), CosineSchedule(), SETTINGS, f"data.content_hash {pool().content_hash}"),
        (network(), pool(), FlowMatchingSchedule(), SETTINGS, r"schedule.schedule CosineSchedule \(now FlowMatching"),
        (network(), pool(), CosineSchedule(), replace(SETTINGS, seed=1), r"settings.seed 0 \(now 1\)"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            train(module, images, schedule, settings, tmp_path)
        assert "another folder" in str(caught.value)
    assert (tmp_path / STATE).read_bytes() == before


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda c: c[:20], lambda c: b"", lambda c: b"not a state" * 99, flipped]
)
def test_a_damaged_state_is_an_error_that_says_what_to_do(tmp_path: Path, damage: Any) -> None:
    stopped_run(tmp_path, 2)
    path = tmp_path / STATE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"the training state .*Delete the file to train again"):
        resumed(tmp_path)


def test_the_state_is_plain_safetensors_with_no_leftovers_beside_it(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    stopped_run(tmp_path, 4)
    tensors: dict[str, Tensor] = load_file(tmp_path / STATE)
    assert tensors["losses"].shape == (4,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", STATE]
