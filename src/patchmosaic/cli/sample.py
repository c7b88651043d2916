"""`patchmosaic sample`: what a network or a machine draws."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from patchmosaic.cli.console import Budget, Device, Json, budget_bytes, print_json, progress_bars, say
from patchmosaic.cli.train import Classes, class_key


def sample(
    source: Annotated[str, typer.Argument(help="A run folder, or data as for `train`.")],
    denoiser: Annotated[str, typer.Option(help="network (of a run), IS, ES, LS, ELS, bbELS or Wiener.")] = "bbELS",
    seeds: Annotated[int, typer.Option(help="Draw seeds 0 to this.", min=1)] = 16,
    steps: Annotated[int, typer.Option(help="DDIM steps.", min=1)] = 20,
    patch_size: Annotated[
        int | None, typer.Option(help="One patch size at all noise levels; by default the calibrated scale.")
    ] = None,
    preview: Annotated[
        int | None, typer.Option(help="Ask a machine about so many random images of its pool: fast, not exact.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Let each answer of a machine err by so much, relatively, where that is cheaper.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for samples.png and samples.safetensors.")] = None,
    image_size: Annotated[int | None, typer.Option(help="For data: resize to this side.")] = None,
    limit: Annotated[int | None, typer.Option(help="For data: use the first so many images.")] = None,
    classes: Classes = None,
    memory_budget: Budget = 1.0,
    device: Device = "cpu",
    shards: Annotated[
        int | None,
        typer.Option(help="Under torchrun: how many processes hold the pool between them, by default all; others share seeds."),
    ] = None,
    patience: Annotated[
        float, typer.Option(help="Under torchrun: minutes that a process waits for the others before it gives up.", min=0.1)
    ] = 30.0,
    json: Json = False,
) -> None:
    """Draw images from noise with a network, or in closed form from data alone: no training needed.

    Examples: `patchmosaic sample digits --denoiser ELS --patch-size 3`, `patchmosaic sample runs/fashion --denoiser network`,
    `patchmosaic sample cifar10 --denoiser ELS --patch-size 5 --preview 500`,
    `torchrun --nproc-per-node=4 -m patchmosaic sample runs/fashion`

    Every step is kept: stopped at any moment, the same command goes on from there.
    """
    import safetensors.torch

    from patchmosaic.denoisers import Denoiser, PosteriorDenoiser
    from patchmosaic.denoisers.approximate import Approximate
    from patchmosaic.denoisers.preview import Preview
    from patchmosaic.engine.distributed import launched
    from patchmosaic.errors import CheckpointError, PatchMosaicError
    from patchmosaic.files import replacing
    from patchmosaic.generation import generate
    from patchmosaic.plots.grid import save_png
    from patchmosaic.progress import silent
    from patchmosaic.runs import DataSource, Run, build_machine
    from patchmosaic.sampling import seed_labels

    if preview is not None and tolerance is not None:
        raise PatchMosaicError("a preview has no tolerance", got="--preview and --tolerance", hint="Choose one of them.")
    budget, name = budget_bytes(memory_budget), denoiser
    if preview is not None or tolerance is not None:
        if shards not in (None, 1):
            raise PatchMosaicError(
                "only the exact machine can be spread over processes", got=f"--shards {shards}", hint="Leave out --shards."
            )
        name += f"-preview-{preview}" if tolerance is None else f"-within-{tolerance:g}"
        shards = 1  # each process has the whole pool, and draws other seeds
    with launched(device, shards, timedelta(minutes=patience)) as ranks:
        run = Run(Path(source)) if (Path(source) / "run.json").exists() else None
        if denoiser == "network" and run is None:
            raise CheckpointError("only a run has a network", got=source, hint="Train one, or choose a machine.")
        folder = out or (Path("samples") if run is None else run.folder) / f"{name}-{steps}"
        with progress_bars() if ranks.first else nullcontext(silent) as progress:
            if run is not None:
                pool, network = run.pool, run.network(device)
                drawer: Denoiser
                if denoiser == "network":
                    drawer = network
                elif patch_size is None:
                    drawer = run.machine(denoiser, schedule=network.schedule, memory_budget=budget)
                else:
                    drawer = build_machine(denoiser, pool, patch_size, schedule=network.schedule, memory_budget=budget)
            else:
                names = tuple(class_key(name) for name in classes) if classes else None
                pool = DataSource(source, image_size, names, limit).load(progress)
                drawer = build_machine(denoiser, pool, patch_size, memory_budget=budget)
            if preview is not None:
                drawer = Preview(drawer, preview)
            elif tolerance is not None:
                drawer = Approximate(drawer, tolerance)
            elif isinstance(drawer, PosteriorDenoiser):
                drawer.distribute(ranks)
            labels = seed_labels(seeds, pool.classes) if drawer.classes else None
            images = generate(
                drawer.to(device),
                range(seeds),
                steps=steps,
                labels=labels,
                image_shape=pool.image_shape,
                batch_size=4 * ranks.teams,
                keep=folder / "seeds" if run is None else run.samples_folder,
                name=name,
                ranks=ranks,
                progress=progress,
            )
        if not ranks.first:
            return
    tensors = {"images": images} if labels is None else {"images": images, "labels": labels}
    with replacing(folder / "samples.safetensors") as temporary:
        safetensors.torch.save_file(tensors, temporary)
    save_png(folder / "samples.png", images)
    if json:
        print_json({"denoiser": name, "seeds": seeds, "steps": steps, "folder": str(folder)})
    else:
        say(f"{seeds} samples of {name} in {folder}: samples.png, samples.safetensors")
