"""A run in the explorer: the network beside the machine, at the calibrated scale, with the run's own tables."""

import numpy as np
import pytest

from patchmosaic.app.ask import Ask
from patchmosaic.app.messages import unpacked
from patchmosaic.app.session import Session
from patchmosaic.errors import LabelError
from patchmosaic.plots.grid import to_pixels
from patchmosaic.runs import Run
from patchmosaic.sampling import sample, seeds


@pytest.fixture
def run_session(run_folder):
    folder, _ = run_folder
    return Session(str(folder))


def test_the_network_is_drawn_beside_the_machine(run_session, run_folder):
    folder, _ = run_folder
    run = Run(folder)
    network = run.network()
    machine = run.machine("bbELS", schedule=network.schedule)
    x_T = seeds([2], run.pool.image_shape) * network.schedule.prior_std()
    own, other = sample(machine, x_T, 3), sample(network, x_T, 3)
    began, *steps = run_session.trajectory(Ask(str(folder), "bbELS", seed=2, steps=3))
    scale = run.calibrations()["bbELS"].scale
    assert began["began"]["patch_sizes"] == [scale(float(network.schedule.noise_level(t))) for t in (1.0, 2 / 3, 1 / 3)]
    for i, message in enumerate(steps):
        step = message["step"]
        assert unpacked(step["x0_hat"]).tolist() == to_pixels(own.x0_hats[i])[0].tolist()
        assert unpacked(step["network_x0_hat"]).tolist() == to_pixels(other.x0_hats[i])[0].tolist()
        r = np.corrcoef(own.x0_hats[i].flatten().double(), other.x0_hats[i].flatten().double())[0, 1]
        assert step["r"] == pytest.approx(r, abs=1e-9)


def test_facts_of_a_run(run_session, run_folder):
    folder, _ = run_folder
    ((message),) = run_session.facts(str(folder))
    facts = message["facts"]
    assert facts["network"]
    assert facts["has_results"]
    assert not facts["needs_class"]
    assert facts["classes"] == []  # its network knows none
    assert facts["start"]["machine"] == "bbELS"
    assert {one["name"]: one["calibrated"] for one in facts["machines"]}["bbELS"]


def test_results_are_the_runs(run_session, run_folder):
    folder, comparison = run_folder
    ((message),) = run_session.results(str(folder))
    assert message["results"]["comparisons"]["3"]["summary"] == comparison.summary()


def test_a_network_of_classes_needs_one(run_session, run_folder, monkeypatch):
    folder, _ = run_folder
    subject = run_session.subject(str(folder), None)
    monkeypatch.setattr(subject.network, "classes", (0, 1))
    with pytest.raises(LabelError, match=r"Choose one of \[0, 1\]"):
        next(run_session.trajectory(Ask(str(folder), "IS")))
