"""`patchmosaic train`: a network to be predicted."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from patchmosaic.cli.console import Device, Json, print_json, progress_bars, say

Classes = Annotated[
    list[str] | None, typer.Option("--class", help="Keep this class only (name or number); repeat for several.")
]


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
    width: Annotated[int, typer.Option(help="Channels of the hidden layers (the paper: 256).")] = 64,
    depth: Annotated[int, typer.Option(help="Residual blocks; the receptive field is 2 depth + 5 (the paper: 6, so 17).")] = 6,
    padding: Annotated[Padding, typer.Option(help="What convolutions see outside the image.")] = Padding.zeros,
    steps: Annotated[int, typer.Option(help="Adam steps.")] = 6000,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Of the first step.")] = 1e-3,
    lr_schedule: Annotated[LearningRateSchedule, typer.Option(help="How it falls.")] = LearningRateSchedule.cosine,
    objective: Annotated[
        Objective, typer.Option(help="log_mse weighs all noise levels alike, for short trainings; mse is the paper's.")
    ] = Objective.log_mse,
    seed: Annotated[int, typer.Option(help="Of the first weights, the order of the images and the noise.")] = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train the paper's ResNet to predict noise, on any images.

    The state is saved every minute: killed at any moment, the same command goes on and ends with the same weights.

    Example: `patchmosaic train fashion_mnist --run runs/fashion --image-size 32 --limit 10000`
    """
    from patchmosaic.networks import TrainingSettings
    from patchmosaic.runs import DataSource

    settings = TrainingSettings(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        lr_schedule=lr_schedule.value,
        seed=seed,
        objective=objective.value,
    )
    source = DataSource(absolute(data), image_size, tuple(class_key(name) for name in classes) if classes else None, limit)
    network = {"width": width, "depth": depth, "padding": padding.value, "conditional": conditional}
    result = run_training(run, source, network, settings, device)
    if json:
        print_json(result)
    else:
        say(f"Next: patchmosaic calibrate {run} --machine bbELS --machine LS")


def run_training(folder: Path, source: Any, network: dict[str, Any], settings: Any, device: str) -> dict[str, Any]:
    """Load the data, train or take up training, save the network; what the verb and the demo share."""
    from patchmosaic.networks import ResNet, save_network
    from patchmosaic.networks import train as train_network
    from patchmosaic.noise import CosineSchedule
    from patchmosaic.runs import Run

    with progress_bars() as progress:
        pool = source.load(progress)
    run = Run.create(folder, source, pool)
    schedule = CosineSchedule()
    conditional = network["conditional"] and pool.labels is not None
    module = ResNet(
        pool.image_shape[0],
        width=network["width"],
        depth=network["depth"],
        padding=network["padding"],
        num_classes=pool.classes[-1] + 1 if conditional else None,
        seed=settings.seed,
    )
    parameters = sum(parameter.numel() for parameter in module.parameters())
    say(f"Training on {pool!r}: ResNet of width {network['width']}, {parameters:,} parameters.")
    with progress_bars() as progress:
        trained = train_network(module, pool, schedule, settings, run.network_folder, device=device, progress=progress)
    save_network(run.network_folder, module, schedule, pool, settings=settings)
    loss = float(trained.losses[-max(1, len(trained.losses) // 20) :].mean())
    say(f"Trained ({trained.precision}): mean loss of the last twentieth of the steps {loss:.4f}.")
    return {"run": str(folder), "parameters": parameters, "steps": settings.steps, "loss": loss, "precision": trained.precision}


def absolute(data: str) -> str:
    """A data source that means the same from any folder: a path is made absolute, a name stays."""
    return data if data.startswith("hf://") or "/" not in data else str(Path(data).resolve())


def class_key(name: str) -> int | str:
    """A class as the data readers take it: numbers are numbers."""
    return int(name) if name.isdecimal() else name
