"""Recipes: what the rows of the papers are, and how large; read from TOML, every key checked.

A recipe file gives what its rows have in common, and four tables, each of which may be left out:

    [training]          what differs from the training of `recipe`, one of those of `patchmosaic.networks`
    [networks.NAME]     width and depth of one of its networks, where they are not those of `recipe`
    [rows.NAME]         what a row has of its own; without this table, the eleven rows of rows.toml
    [experiments]       the rows of an experiment, where they are not all

`quick`, `cpu` and `full` are files of that form in `recipes/`; any other is given by its path, and its name is the scale's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import LabelError, PatchMosaicError
from patchmosaic.networks import RECIPES, Network, Padding, TrainingSettings, preset_network
from patchmosaic.networks.presets import check_preset

SCALES = ("quick", "cpu", "full")
Table = TypeVar("Table")


@dataclass(frozen=True)
class Recipe:
    """One row: a network on a data set, and how it is compared.

    Attributes:
        name, scale: together the name of its folder.
        title: the name of the row in the published table.
        data: what `patchmosaic.data.load` calls the images; `stand_in` is taken in their place where they are not found.
        image_size, limit: as for `load`.
        conditional: tell the network and the machines the class.
        network: the name of one of `patchmosaic.networks.PRESETS`; width and depth are in `networks`, or those of `recipe`.
        recipe: the name of one of `patchmosaic.networks.RECIPES`; `training` is what differs from its settings.
        machines: those that are calibrated; IS and Wiener always take part.
        seeds: that are compared.
        calibration_seeds: held-out seeds, used for nothing but fitting.
        steps: DDIM steps of the machines.
        network_steps: DDIM steps of the network, one comparison each.
        scales_from: the row whose locality scales this one takes; None for its own.
        snapshots: training steps at which the network is kept.
        soft_machines: machines that `improvements` also tries with soft windows; "LS" is cheap, the others are not.
    """

    name: str
    scale: str
    title: str
    data: str
    network: str
    recipe: str = "cpu"
    training: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stand_in: str | None = None
    image_size: int | None = None
    limit: int | None = None
    conditional: bool = False
    padding: Padding = "zeros"
    machines: tuple[str, ...] = ("ELS", "bbELS", "LS")
    seeds: int = 20
    calibration_seeds: int = 4
    steps: int = 20
    network_steps: tuple[int, ...] = (20, 150)
    scales_from: str | None = None
    snapshots: tuple[int, ...] = ()
    soft_machines: tuple[str, ...] = ("LS",)

    def __post_init__(self) -> None:
        check_preset(self.network, self.recipe, self.padding)
        if self.recipe not in RECIPES:
            raise PatchMosaicError("no such training", got=repr(self.recipe), hint=f"Known: {', '.join(RECIPES)}.")
        _checked(TrainingSettings, self.training, f"training of row {self.name}")
        for name, size in self.networks.items():
            _checked(Size, size, f"network {name} of row {self.name}")
        if self.theory not in self.machines:
            raise PatchMosaicError(
                f"row {self.name} lacks the machine that is the theory of its network",
                got=self.machines,
                hint=f"Add {self.theory}.",
            )
        for name in ("seeds", "calibration_seeds", "steps"):
            if getattr(self, name) < 1:
                raise PatchMosaicError(f"{name} must be positive", got=getattr(self, name))

    @property
    def theory(self) -> str:
        """The machine that the published table calls ELS: the one that sees borders as the network does."""
        return "bbELS" if self.padding == "zeros" else "ELS"

    def settings(self, images: int, seed: int = 0) -> TrainingSettings:
        """The training on a pool of so many images."""
        return replace(RECIPES[self.recipe](images), **{**self.training, "seed": seed})

    def module(self, pool: ImageSet, seed: int = 0) -> Network:
        """The network, with fresh weights.

        Raises:
            LabelError: it is conditional, and the images have no labels.
        """
        if self.conditional and not pool.classes:
            raise LabelError(f"row {self.name} is conditional: its images need labels", got=repr(pool))
        return preset_network(
            self.network,
            pool.image_shape,
            recipe=self.recipe,
            **self.networks.get(self.network, {}),
            padding=self.padding,
            num_classes=pool.classes[-1] + 1 if self.conditional else None,
            seed=seed,
        )


@dataclass(frozen=True)
class Size:
    """Width and depth of a network, as for `preset_network`."""

    width: int | None = None
    depth: int | None = None


@dataclass(frozen=True)
class Recipes:
    """The rows of a scale, by name, and the default rows of some experiments."""

    scale: str
    rows: dict[str, Recipe]
    experiments: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def chosen(self, experiment: str, names: Sequence[str] | None = None) -> list[Recipe]:
        """The rows named, or those that the experiment takes by default.

        Raises:
            PatchMosaicError: there is no such row.
        """
        wanted = list(names) if names else list(self.experiments.get(experiment, self.rows))
        if unknown := [name for name in wanted if name not in self.rows]:
            raise PatchMosaicError("no such row", got=", ".join(unknown), hint=f"Known: {', '.join(self.rows)}.")
        return [self.rows[name] for name in wanted]


def read_recipes(scale: str, **changes: Any) -> Recipes:
    """The recipes of "quick", "cpu" or "full", or of the TOML file at a path.

    Args:
        changes: fields of every row in place of the file's; None changes nothing.

    Raises:
        PatchMosaicError: there is no such scale or file, or it is not TOML.
        PatchMosaicError: an unknown key, a missing one, or a value of another type; says which and where.
    """
    package = files("patchmosaic.experiments.papers") / "recipes"
    if scale in SCALES:
        common, name = _parsed((package / f"{scale}.toml").read_text("utf-8"), scale), scale
    elif Path(scale).suffix == ".toml" and Path(scale).is_file():
        common, name = _parsed(Path(scale).read_text("utf-8"), scale), Path(scale).stem
    else:
        raise PatchMosaicError("no such scale", got=repr(scale), hint=f"{', '.join(SCALES)}, or the path of a .toml file.")
    experiments = {key: tuple(rows) for key, rows in common.pop("experiments", {}).items()}
    tables = common.pop("rows", None) or _parsed((package / "rows.toml").read_text("utf-8"), "rows.toml")
    common["scale"] = name
    given = {key: value for key, value in changes.items() if value is not None}
    rows = {
        key: _built(Recipe, {**common, **table, "name": key, **given}, f"rows.{key} of {name}") for key, table in tables.items()
    }
    for row in rows.values():
        if row.scales_from is not None and (row.scales_from not in rows or rows[row.scales_from].scales_from is not None):
            own = ", ".join(name for name, one in rows.items() if one.scales_from is None)
            raise PatchMosaicError(
                f"row {row.name} of {name} must take its scales from a row that has its own",
                got=row.scales_from,
                hint=f"Such are: {own}.",
            )
    recipes = Recipes(name, rows, experiments)
    for experiment in experiments:
        recipes.chosen(experiment)
    return recipes


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PatchMosaicError(f"not TOML ({error})", got=where) from error


def _built(kind: type[Table], table: Mapping[str, Any], where: str) -> Table:
    """A dataclass from a table of TOML; names and types must be its own."""
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}  # type: ignore[arg-type]
    if absent := required - set(table):
        raise PatchMosaicError(f"{where} lacks {', '.join(sorted(absent))}")
    return kind(**_checked(kind, table, where))


def _checked(kind: type, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A table whose keys are fields of a dataclass, and whose values are of their types."""
    hints = get_type_hints(kind)
    if unknown := set(table) - set(hints):
        known = ", ".join(sorted(hints))
        raise PatchMosaicError(f"{where} has an unknown key", got=", ".join(sorted(unknown)), hint=f"Known: {known}.")
    return {key: _typed(value, hints[key], f"{where}, key {key}") for key, value in table.items()}


def _typed(value: Any, hint: Any, where: str) -> Any:
    """The value as the hint wants it: lists become tuples, whole numbers may stand for others."""
    kind = get_origin(hint) or hint
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(_typed(one, get_args(hint)[0], where) for one in value)
    if kind is Literal:
        fits = value in get_args(hint)
    elif kind is UnionType:
        return _typed(value, next(one for one in get_args(hint) if one is not type(None)), where) if value is not None else None
    elif kind is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits:
        named = " or ".join(map(repr, get_args(hint))) if kind is Literal else kind.__name__
        raise PatchMosaicError(f"{where} must be {named}", got=repr(value))
    return value
