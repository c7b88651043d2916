"""A reproduction that is killed at a random moment loses one seed at most, and ends as if it had not been killed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from paper_cases import RECIPE, written_recipe

from patchmosaic.experiments.papers.catalogue import run_experiment

SEEDS, STEPS = 6, 3
CHILD = """
import sys
from pathlib import Path
from patchmosaic.experiments.papers.catalogue import run_experiment
log = open(sys.argv[3], "a", buffering=1)
def progress(what, done, total):
    log.write(f"{what}|{done}|{total}\\n")
for _ in run_experiment("table1", Path(sys.argv[1]), sys.argv[2], ["zeros"], progress=progress):
    pass
"""


def seeds_kept(root: Path) -> dict[str, list[Path]]:
    """Finished seeds by the folder that holds them."""
    stores = (root / "rows" / "zeros-tiny" / "samples").glob("*")
    return {store.name: sorted(store.glob("seed-*")) for store in stores}


def test_a_kill_loses_one_seed_at_most(tmp_path: Path) -> None:
    text = RECIPE.replace("seeds = 3", f"seeds = {SEEDS}", 1)
    scale, root, log = written_recipe(tmp_path, text), tmp_path / "killed", tmp_path / "log"
    environment = {name: value for name, value in os.environ.items() if name != "PATCHMOSAIC_DATA"}
    # By lines of progress, not by the clock: wherever the machine is slow, the kill comes amid the work.
    wait = random.randint(10, 140)
    log.touch()
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(root), scale, str(log)], env=environment)
    while child.poll() is None and log.read_text().count("\n") < wait:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = seeds_kept(root)
    before = {path: path.stat().st_mtime_ns for paths in kept.values() for path in paths}

    # What was told as done, in steps of seeds, is there but for one seed.
    told: dict[str, int] = {}
    for line in log.read_text().splitlines():
        if match := re.fullmatch(r"zeros: (calibrating )?(\w+)\|(\d+)\|(\d+)", line):
            calibrating, machine, done, total = match.groups()
            steps = STEPS if calibrating or machine != "network" else int(total) // SEEDS
            told[f"{'calibration-' if calibrating else ''}{machine}-{steps}"] = int(done) // steps
    for name, finished in told.items():
        stores = [paths for store, paths in kept.items() if re.fullmatch(rf"{name.rpartition('-')[0]}-[0-9a-f]{{16}}", store)]
        assert max(map(len, stores), default=0) >= finished - 1, (name, wait)

    for kind in run_experiment("table1", root, scale, ["zeros"]):
        resumed = kind.records
    assert {path: path.stat().st_mtime_ns for path in before} == before, wait
    for kind in run_experiment("table1", tmp_path / "whole", scale, ["zeros"]):
        whole = kind.records
    for one, other in zip(resumed.series, whole.series, strict=True):
        assert one.keys == other.keys
        np.testing.assert_allclose(one.values, other.values, atol=1e-5)
