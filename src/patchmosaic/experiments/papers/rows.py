"""A row at work: its network, calibrations and samples, each made when first asked for and kept in an ordinary run folder.

    ROOT/rows/NAME-SCALE/           run.json, network/, scales/, samples/: what `patchmosaic compare` and `sample` also read
    ROOT/rows/NAME-SCALE/twins/     the same network trained otherwise: from other weights, on other images, with snapshots

What one experiment trained, calibrated or drew, another finds. Seeds are done one at a time: a kill loses at most one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch

from patchmosaic.calibration import Calibration, calibrate
from patchmosaic.comparison import Comparison, compare
from patchmosaic.data import found
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import Denoiser, NetworkDenoiser
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.errors import CheckpointError, DataError, ShapeError
from patchmosaic.experiments.papers.recipe import Recipe
from patchmosaic.files import fingerprint
from patchmosaic.locality import LocalityScale
from patchmosaic.networks import Network, NetworkRecord, TrainingSettings, save_trained, snapshots_in, train
from patchmosaic.networks.checkpoint import RECORD_FILE, read_record
from patchmosaic.networks.training_state import FILE_NAME as STATE_FILE
from patchmosaic.noise import CosineSchedule
from patchmosaic.progress import Progress, silent
from patchmosaic.runs import DataSource, Run, build_machine, trained_denoiser

SCHEDULE = CosineSchedule()
AT_ONCE = 1  # seeds: what a kill may lose


class RowRun:
    """One row of a table, and all that is made for it.

    Args:
        root: the folder of all rows and experiments.
        recipe: what the row is.
        lender: the row whose locality scales it takes, where the recipe names one.
        pools: images already read, shared by rows on the same ones.
        device, memory_budget: where machines and networks compute, and what a machine may allocate.
        progress: told of all work, under the name of the row.
    """

    def __init__(
        self,
        root: Path,
        recipe: Recipe,
        *,
        lender: RowRun | None = None,
        pools: dict[DataSource, ImageSet] | None = None,
        device: torch.device | str = "cpu",
        memory_budget: int = DEFAULT_BUDGET,
        progress: Progress = silent,
    ) -> None:
        self.recipe, self.lender = recipe, lender
        self.device, self.memory_budget = device, memory_budget
        self.folder = root / "rows" / f"{recipe.name}-{recipe.scale}"
        self.keep = self.folder / "samples"
        self._pools = {} if pools is None else pools
        self._progress = progress
        self._calibrations: dict[tuple[str, str], Calibration] = {}

    @property
    def name(self) -> str:
        """As in the recipe."""
        return self.recipe.name

    @cached_property
    def title(self) -> str:
        """As in the published table; says so where the images are others."""
        if self._source.name == self.recipe.data:
            return self.recipe.title
        published = self.recipe.title.split()[0]
        return f"{self.recipe.title} ({self._source.name} in place of {published})"

    @cached_property
    def missing(self) -> str | None:
        """Why the row's images cannot be had; None where they can."""
        try:
            _ = self.pool
        except (DataError, ShapeError) as error:
            return str(error)
        return None

    @cached_property
    def _source(self) -> DataSource:
        there = {"digits", *found()}
        in_place = self.recipe.stand_in is not None and self.recipe.data not in there and self.recipe.stand_in in there
        name = self.recipe.stand_in if in_place and self.recipe.stand_in else self.recipe.data
        return DataSource(name, self.recipe.image_size, None, self.recipe.limit)

    @cached_property
    def pool(self) -> ImageSet:
        """The training images."""
        if self._source not in self._pools:
            self._pools[self._source] = self._source.load(self.progress)
        return self._pools[self._source]

    @cached_property
    def run(self) -> Run:
        """The run folder.

        Raises:
            CheckpointError: it holds a run on other images.
        """
        run = Run.create(self.folder, self._source, self.pool)
        run.pool = self.pool
        return run

    @cached_property
    def network(self) -> NetworkDenoiser:
        """The trained network; trains it, or goes on training.

        Raises:
            CheckpointError: the folder holds another network, or one that was trained otherwise.
        """
        begun = (self.run.network_folder / STATE_FILE).exists()
        wanted = self._snapshot_steps
        # A training that was begun without snapshots cannot take those that it has passed.
        kept = () if begun and not set(wanted) & set(snapshots_in(self.run.network_folder)) else wanted
        return self._trained(self.run.network_folder, self.pool, snapshots=kept)

    def twin(self, name: str, *, seed: int = 0, pool: ImageSet | None = None) -> NetworkDenoiser:
        """The same network trained from another seed or on other images, kept under `name`.

        Args:
            pool: some of the row's images; by default all.
        """
        return self._trained(self.folder / "twins" / name, pool or self.pool, seed=seed)

    def snapshots(self) -> dict[int, NetworkDenoiser]:
        """The network after so many training steps, increasing, the finished one last.

        Where the network was trained without keeping them it is trained again, as a twin: with the same seed, so that on the
        same machine it is the same network.
        """
        network, wanted = self.network, self._snapshot_steps
        folder = self.run.network_folder
        if not set(wanted) <= set(snapshots_in(folder)):
            folder = self.folder / "twins" / f"snapshots-{fingerprint(wanted)}"
            network = self._trained(folder, self.pool, snapshots=wanted)
        places = snapshots_in(folder)
        networks = {step: trained_denoiser(places[step], self.pool, self.device) for step in wanted}
        return {**networks, self._settings.steps: network}

    def calibration(self, machine: str, network: NetworkDenoiser | None = None) -> Calibration:
        """The locality scale of a machine for the row's network, or for another, such as a snapshot.

        A row that borrows its scales has those of its lender, for every network.
        """
        if self.lender is not None:
            return self.lender.calibration(machine)
        network = network or self.network
        known = (machine, str(network.describe()["weights"]))
        if known not in self._calibrations:
            self._calibrations[known] = calibrate(
                network,
                self.pool,
                machine,
                self.recipe.calibration_seeds,
                self.recipe.steps,
                memory_budget=self.memory_budget,
                batch_size=AT_ONCE,
                keep=self.keep,
                progress=self.progress,
            )
            if network is self.network:
                self._calibrations[known].save(self.run.scale_path(machine))
        return self._calibrations[known]

    def machine(self, name: str, patch_size: int | LocalityScale | None = None) -> Denoiser:
        """A machine over the row's images, at the given patch size or at its calibrated scale."""
        size = patch_size
        if size is None and name in self.recipe.machines:
            size = self.calibration(name).scale
        machine = build_machine(name, self.pool, size, schedule=SCHEDULE, memory_budget=self.memory_budget)
        return machine.to(self.device)

    def compare(
        self,
        network_steps: int,
        machines: Mapping[str, Denoiser] | Iterable[str] | None = None,
        network: NetworkDenoiser | None = None,
    ) -> Comparison:
        """Machines against the row's network, or another, on the row's seeds.

        Args:
            machines: denoisers by name, or names of machines at their calibrated scale; by default the recipe's. IS and
                Wiener always take part.
        """
        if not isinstance(machines, Mapping):
            machines = {name: self.machine(name) for name in machines or self.recipe.machines}
        return compare(
            network or self.network,
            machines,
            self.recipe.seeds,
            self.recipe.steps,
            network_steps=network_steps,
            pool=self.pool,
            conditional=self.recipe.conditional,
            batch_size=AT_ONCE,
            keep=self.keep,
            progress=self.progress,
        )

    def progress(self, what: str, done: int, total: int) -> None:
        """Tell of work on this row."""
        self._progress(f"{self.name}: {what}", done, total)

    @property
    def _settings(self) -> TrainingSettings:
        return self.recipe.settings(len(self.pool))

    @property
    def _snapshot_steps(self) -> tuple[int, ...]:
        """Those of the recipe that the training of so many images comes by before its end."""
        return tuple(step for step in self.recipe.snapshots if step < self._settings.steps)

    def _trained(self, folder: Path, pool: ImageSet, *, seed: int = 0, snapshots: Sequence[int] = ()) -> NetworkDenoiser:
        settings, module = self.recipe.settings(len(pool), seed), self.recipe.module(pool, seed)
        if not (folder / RECORD_FILE).exists():
            result = train(
                module, pool, SCHEDULE, settings, folder, device=self.device, snapshots=snapshots, progress=self.progress
            )
            save_trained(folder, module, result.average, SCHEDULE, pool, settings)
        _check_same(read_record(folder), module, settings, folder)
        return trained_denoiser(folder, pool, self.device)


def _check_same(record: NetworkRecord, module: Network, settings: TrainingSettings, folder: Path) -> None:
    """That a trained network is the one that the recipe asks for."""
    asked = {"architecture": type(module).__name__, **module.config(), **settings.to_json()}
    there = {"architecture": record.architecture, **record.config, **(record.training or {})}
    if differing := [f"{name} {there.get(name)}" for name in asked if there.get(name) != asked[name]]:
        raise CheckpointError(
            "the folder holds a network that is not the recipe's",
            got=f"{folder} with {', '.join(differing)}",
            hint="Move it away, or change the recipe.",
        )
