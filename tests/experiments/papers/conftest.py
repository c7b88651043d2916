"""All experiments, run once on the smallest rows."""

from pathlib import Path

import pytest
from paper_cases import written_recipe

from patchmosaic.experiments.papers.catalogue import EXPERIMENTS, run_experiment
from patchmosaic.experiments.papers.experiment import Experiment


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, Experiment]]:
    """(root, scale, the experiments by name)."""
    root = tmp_path_factory.mktemp("papers")
    scale = written_recipe(tmp_path_factory.mktemp("recipe"))
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PATCHMOSAIC_DATA", raising=False)
        for name in EXPERIMENTS:
            *_, found[name] = run_experiment(name, root, scale)
    return root, scale, found
