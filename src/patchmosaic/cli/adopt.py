"""`patchmosaic adopt`: a run around a network that is already trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from patchmosaic.cli.console import Json, print_json, progress_bars, say
from patchmosaic.cli.train import Classes, absolute, class_key


def adopt(
    network: Annotated[
        Path,
        typer.Argument(help="A folder of diffusers (unet/ and scheduler/), or the network/ of another run (network.json)."),
    ],
    data: Annotated[str, typer.Option(help="The images that it was trained on, as for `train`.")],
    run: Annotated[Path, typer.Option(help="The folder of the run; made if it is not there.")],
    image_size: Annotated[int | None, typer.Option(help="Resize to this side; by default images stay as they are.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use the first so many images.")] = None,
    classes: Classes = None,
    ema: Annotated[bool, typer.Option(help="Of diffusers: the averaged weights in unet_ema/.")] = False,
    variant: Annotated[str | None, typer.Option(help="Of diffusers: which weights, such as fp16.")] = None,
    scheduler: Annotated[
        Path | None, typer.Option(help="Of diffusers: the folder of scheduler_config.json, where it is not beside the model.")
    ] = None,
    timesteps: Annotated[
        int | None, typer.Option(help="Of diffusers: take only so many of its lowest noise levels; by default all.", min=1)
    ] = None,
    json: Json = False,
) -> None:
    """Make a run of a network that was trained elsewhere; then calibrate and compare it.

    Its weights are copied into the run. Of diffusers, UNet2DModel is read, unconditional or conditioned on a class, from
    safetensors; `scheduler/` says what it predicts and at which noise levels it was trained.

    Example: `patchmosaic adopt ddpm-fashion --data fashion_mnist --image-size 32 --run runs/theirs`
    """
    from patchmosaic.runs import DataSource

    names = tuple(class_key(name) for name in classes) if classes else None
    source = DataSource(absolute(data), image_size, names, limit)
    options = {"ema": ema, "variant": variant, "scheduler": scheduler, "timesteps": timesteps}
    result = run_adoption(run, source, network, options)
    if json:
        print_json(result)
    else:
        say(f"Next: patchmosaic calibrate {run} --machine bbELS --machine LS")


def run_adoption(folder: Path, source: Any, network: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Copy a network into a run on the images of `source`, and say what it is; `options` as for `read_diffusers`.

    Raises:
        CheckpointError: the run has another network, or there is none that can be read; and what `trained_denoiser` raises.
    """
    import tempfile

    from patchmosaic.errors import CheckpointError
    from patchmosaic.runs import Run, trained_denoiser

    with progress_bars() as progress:
        pool = source.load(progress)
    run = Run.create(folder, source, pool)
    # Whole or absent: the copy is made, and tried, beside its place.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".network-") as name:
        copy = Path(name) / "network"
        _copied(network, copy, pool.content_hash, options)
        adopted = trained_denoiser(copy, pool)
        if not run.network_folder.exists():
            copy.rename(run.network_folder)
        elif run.network().describe() != adopted.describe():
            raise CheckpointError("the run has another network", got=folder, hint="Give another --run folder.")
    parameters = sum(parameter.numel() for parameter in adopted.module.parameters())
    say(f"Adopted for {pool!r}: a network of {parameters:,} parameters that predicts {adopted.prediction}.")
    return {
        "run": str(folder),
        "parameters": parameters,
        "prediction": adopted.prediction,
        "schedule": type(adopted.schedule).__name__,
        "classes": list(adopted.classes),
    }


def _copied(network: Path, copy: Path, images: str, options: dict[str, Any]) -> None:
    import shutil

    from patchmosaic.interop import read_diffusers, remarks
    from patchmosaic.networks.checkpoint import RECORD_FILE, WEIGHTS_FILE, load_network

    if (network / RECORD_FILE).exists():
        _, record = load_network(network)
        if record.data["content_hash"] != images:
            say(f"Note: it was trained on other images ({record.data['name']}) than those it will be compared with.")
        copy.mkdir()
        for file in (RECORD_FILE, WEIGHTS_FILE):
            shutil.copy2(network / file, copy / file)
        return
    unet, noise = read_diffusers(network, **options)
    for remark in remarks(noise):
        say(f"Note: {remark}")
    unet.save_pretrained(copy / "unet")
    noise.save_pretrained(copy / "scheduler")
