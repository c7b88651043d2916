"""`patchmosaic train`: a network to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from patchmosaic.cli.console import Device, Json, print_json, progress_bars, say
from patchmosaic.cli.studies import resized
from patchmosaic.errors import PatchMosaicError

Classes = Annotated[
    list[str] | None, typer.Option("--class", help="Keep this class only (name or number); repeat for several.")
]


class Architecture(StrEnum):
    resnet = "resnet"
    unet = "unet"
    attention_unet = "attention-unet"
    mlp = "mlp"


class Recipe(StrEnum):
    cpu = "cpu"
    paper = "paper"


class Padding(StrEnum):
    zeros = "zeros"
    circular = "circular"


class LearningRateSchedule(StrEnum):
    cosine = "cosine"
    exponential = "exponential"
    constant = "constant"


class Objective(StrEnum):
    log_mse = "log_mse"
    mse = "mse"


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="digits; a data set found under $PATCHMOSAIC_DATA (mnist, fashion_mnist, cifar10, ...); a path to IDX, CIFAR,"
            " parquet, .npz, .npy or a folder of pictures; hf://owner/name."
        ),
    ],
    run: Annotated[Path, typer.Option(help="The folder of this run; made if it is not there, taken up if it is.")],
    image_size: Annotated[int | None, typer.Option(help="Resize to this side; by default images stay as they are.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use the first so many images.")] = None,
    classes: Classes = None,
    conditional: Annotated[
        bool, typer.Option(help="Tell the network the class of each image, where there are classes.")
    ] = True,
    architecture: Annotated[
        Architecture, typer.Option(help="The paper's ResNet, UNet or UNet with self-attention; or fully connected layers.")
    ] = Architecture.resnet,
    recipe: Annotated[
        Recipe, typer.Option(help="cpu: a small network, for minutes on two cores; paper: full size, 300 epochs, for a GPU.")
    ] = Recipe.cpu,
    width: Annotated[
        int | None, typer.Option(help="Channels, in a UNet of the finest level; in place of the recipe's.", min=1)
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            help="Blocks, in a UNet of each level, or layers; in place of the recipe's. A ResNet sees 2 depth + 5 pixels.",
            min=1,
        ),
    ] = None,
    padding: Annotated[Padding, typer.Option(help="What convolutions see outside the image.")] = Padding.zeros,
    steps: Annotated[int | None, typer.Option(help="Adam steps, in place of the recipe's.", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step, in place of the recipe's.", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the first step, in place of the recipe's.")] = None,
    lr_schedule: Annotated[
        LearningRateSchedule | None, typer.Option(help="How it falls, in place of the recipe's way.")
    ] = None,
    objective: Annotated[
        Objective | None, typer.Option(help="log_mse weighs all noise levels alike, for short trainings; mse is the paper's.")
    ] = None,
    ema: Annotated[
        float | None, typer.Option(help="Use a running average of the weights, of this half-life in images.", min=1)
    ] = None,
    snapshot: Annotated[
        list[int] | None, typer.Option(help="Keep the network as it is after this step, too; repeat for several.", min=0)
    ] = None,
    snapshots: Annotated[
        int | None, typer.Option(help="Keep it after so many steps, spaced by equal factors from 1 to the last.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first weights, the order of the images and the noise.")] = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train a network to predict noise, on any images.

    The state is saved every minute: killed at any moment, the same command goes on and ends with the same weights.

    Example: `patchmosaic train fashion_mnist --run runs/fashion --image-size 32 --limit 10000`
    """
    from patchmosaic.networks import RECIPES
    from patchmosaic.networks.presets import check_preset
    from patchmosaic.runs import DataSource

    check_preset(architecture.value, recipe.value, padding.value)
    if snapshot and snapshots:
        raise PatchMosaicError("--snapshot names steps and --snapshots spaces them", got="both", hint="Give one of them.")

    def settings(images: int) -> Any:
        size = {} if batch_size is None else {"batch_size": batch_size}
        return resized(
            RECIPES[recipe.value](images, **size),
            steps=steps,
            learning_rate=learning_rate,
            lr_schedule=lr_schedule and lr_schedule.value,
            objective=objective and objective.value,
            ema_half_life=ema,
            seed=seed,
        )

    source = DataSource(absolute(data), image_size, tuple(class_key(name) for name in classes) if classes else None, limit)
    network = {
        "architecture": architecture.value,
        "recipe": recipe.value,
        "width": width,
        "depth": depth,
        "padding": padding.value,
        "conditional": conditional,
    }
    result = run_training(run, source, network, settings, device, snapshot or snapshots or ())
    if json:
        print_json(result)
    else:
        say(f"Next: patchmosaic calibrate {run} --machine bbELS --machine LS")


def run_training(
    folder: Path,
    source: Any,
    network: dict[str, Any],
    settings: Any,
    device: str,
    snapshots: Sequence[int] | int = (),
) -> dict[str, Any]:
    """Load the data, train or take up training, save the network; what the verb and the demo share.

    Args:
        network: arguments of `preset_network`, and whether it is `conditional` where the images have classes.
        settings: of the training, or a function that gives them for a number of images.
        snapshots: the steps after which the network is kept, or how many, evenly on a log scale.
    """
    from patchmosaic.networks import log_spaced_steps, preset_network, save_trained
    from patchmosaic.networks import train as train_network
    from patchmosaic.noise import CosineSchedule
    from patchmosaic.runs import Run

    with progress_bars() as progress:
        pool = source.load(progress)
    settings = settings(len(pool)) if callable(settings) else settings
    kept = log_spaced_steps(snapshots, settings.steps) if isinstance(snapshots, int) else tuple(snapshots)
    choice = {"architecture": "resnet", **network}
    conditional = choice.pop("conditional") and pool.labels is not None
    classes = pool.classes[-1] + 1 if conditional else None
    module = preset_network(image_shape=pool.image_shape, num_classes=classes, seed=settings.seed, **choice)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    run, schedule = Run.create(folder, source, pool), CosineSchedule()
    say(f"Training on {pool!r}: {choice['architecture']}, {parameters:,} parameters, {settings.steps:,} steps.")
    with progress_bars() as progress:
        trained = train_network(
            module, pool, schedule, settings, run.network_folder, device=device, snapshots=kept, progress=progress
        )
    save_trained(run.network_folder, module, trained.average, schedule, pool, settings)
    loss = float(trained.losses[-max(1, len(trained.losses) // 20) :].mean())
    say(f"Trained ({trained.precision}): mean loss of the last twentieth of the steps {loss:.4f}.")
    return {
        "run": str(folder),
        "architecture": choice["architecture"],
        "parameters": parameters,
        "steps": settings.steps,
        "loss": loss,
        "precision": trained.precision,
        "averaged": trained.average is not None,
        "snapshots": list(kept),
    }


def absolute(data: str) -> str:
    """A data source that means the same from any folder: a path is made absolute, a name stays."""
    return data if data.startswith("hf://") or "/" not in data else str(Path(data).resolve())


def class_key(name: str) -> int | str:
    """A class as the data readers take it: numbers are numbers."""
    return int(name) if name.isdecimal() else name
