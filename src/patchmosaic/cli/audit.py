"""`patchmosaic audit`: is a model copying its data, and from where."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchmosaic.cli.console import Budget, Device, Json, budget_bytes, print_json, progress_bars, say
from patchmosaic.cli.train import absolute

if TYPE_CHECKING:
    from torch import Tensor

    from patchmosaic.data import ImageSet
    from patchmosaic.progress import Progress

BASELINES = ("IS",)  # of a run, beside its network and the machines that are calibrated


def audit(
    images: Annotated[
        Path,
        typer.Argument(
            help="A folder of pictures; samples in .npz, .npy or .safetensors; or a run, whose network and machines draw."
        ),
    ],
    data: Annotated[str | None, typer.Option(help="The training images, as for `train`; a run knows its own.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results; by default audit/ in the run, or here.")] = None,
    limit: Annotated[int | None, typer.Option(help="Of the training images, use the first so many.")] = None,
    seeds: Annotated[int, typer.Option(help="Of a run: audit seeds 0 to this.", min=1)] = 20,
    steps: Annotated[int, typer.Option(help="Of a run: DDIM steps of the samples.", min=1)] = 20,
    held_out: Annotated[int, typer.Option(help="Real images to set aside for comparison; at most a fifth.", min=1)] = 256,
    shift: Annotated[int, typer.Option(help="Find copies moved by up to so many pixels, too.", min=0)] = 0,
    patch_size: Annotated[
        list[int] | None, typer.Option(help="Patch sizes of the novelty curve; repeat for several. By default 3, 5, 9, 17.")
    ] = None,
    patches_of: Annotated[
        int, typer.Option(help="Images whose patches are looked for, and as many real ones: the slow part; 0 for none.", min=0)
    ] = 16,
    memory_budget: Budget = 1.0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Compare images with the training images: how many are copies, of which, and how new their patches are.

    A copy is nearer to one training image than a third of its distance to any other. Real images that are set aside tell what
    is normal. Writes results.json, and for each set of images a table NAME.csv and a picture nearest-NAME.png; then
    novelty.png: how far patches of each size are from all training patches. Finished images are kept: killed, the same
    command goes on.

    Examples: `patchmosaic audit samples/ --data cifar10`, `patchmosaic audit runs/fashion`
    """
    result = run_audit(
        images, data, out, limit, seeds, steps, held_out, shift, patch_size, patches_of, budget_bytes(memory_budget), device
    )
    if json:
        print_json(result)


def run_audit(
    images: Path,
    data: str | None,
    out: Path | None,
    limit: int | None,
    seeds: int,
    steps: int,
    held_out: int,
    shift: int,
    patch_size: list[int] | None,
    patches_of: int,
    memory_budget: int,
    device: str,
) -> dict[str, Any]:
    """Audit images, or what the denoisers of a run draw; write tables, pictures and results."""
    from patchmosaic.analysis.memorisation import memorisation
    from patchmosaic.analysis.novelty import novelty
    from patchmosaic.files import write_json
    from patchmosaic.plots.memorisation import MemorisationDisplay
    from patchmosaic.plots.novelty import NoveltyDisplay
    from patchmosaic.provenance.export import save_table
    from patchmosaic.runs import manifest

    started = time.monotonic()
    is_run = (images / "run.json").exists()
    folder = out or (images / "audit" if is_run else Path("audit"))
    with progress_bars() as progress:
        pool, sets = (
            _of_run(images, seeds, steps, memory_budget, device, progress) if is_run else _given(images, data, limit, progress)
        )
    results: dict[str, Any] = {"pool": {"name": pool.name, "images": len(pool), "content_hash": pool.content_hash}, "sets": {}}
    new = {}
    for name, drawn in sets.items():
        with progress_bars() as progress:
            copies = memorisation(drawn, pool, held_out=held_out, reach=shift, progress=progress)
            results["sets"][name] = {"memorisation": copies.to_json()}
            save_table(copies.table(), folder / f"{name}.csv")
            title = f"{name} samples" if is_run else "images"
            MemorisationDisplay(copies, drawn, title=title).save(folder / f"nearest-{name}.png")
            if patches_of:
                new[name] = novelty(
                    drawn[:patches_of],
                    pool,
                    sorted(set(patch_size or _default_sizes(pool))),
                    held_out=patches_of,
                    memory_budget=memory_budget,
                    keep=folder / "patches",
                    progress=progress,
                )
                results["sets"][name]["novelty"] = new[name].to_json()
        say(f"[bold]{name}[/]: {copies}")
    if new:
        NoveltyDisplay(new).save(folder / "novelty.png")
    facts = manifest(pool=pool.content_hash, device=device, seconds=round(time.monotonic() - started, 1))
    write_json(folder / "manifest.json", facts)
    write_json(folder / "results.json", results)
    say(f"Tables, pictures and results.json in {folder}")
    return results


def _of_run(
    folder: Path, seeds: int, steps: int, memory_budget: int, device: str, progress: Progress
) -> tuple[ImageSet, dict[str, Tensor]]:
    """What the network, the calibrated machines and the ideal machine of a run draw; what was drawn before is read."""
    from patchmosaic.denoisers import Denoiser
    from patchmosaic.generation import generate
    from patchmosaic.runs import Run
    from patchmosaic.sampling import seed_labels

    run = Run(folder)
    network, pool = run.network(device), run.pool
    denoisers: dict[str, Denoiser] = {"network": network}
    for name in (*run.calibrations(), *BASELINES):
        denoisers[name] = run.machine(name, schedule=network.schedule, memory_budget=memory_budget).to(device)
    labels = seed_labels(seeds, pool.classes) if network.classes else None
    drawn = {
        name: generate(
            denoiser,
            range(seeds),
            steps=steps,
            labels=labels,
            image_shape=pool.image_shape,
            keep=run.samples_folder,
            name=name,
            progress=progress,
        ).clamp(-1, 1)
        for name, denoiser in denoisers.items()
    }
    return pool, drawn


def _given(path: Path, data: str | None, limit: int | None, progress: Progress) -> tuple[ImageSet, dict[str, Tensor]]:
    """The images of a file or folder, and the training images at their size."""
    from patchmosaic.data import load
    from patchmosaic.errors import DataError, ShapeError

    if data is None:
        raise DataError("the training images are not known", got=f"{path} alone", hint="Give --data, or a run folder.")
    drawn = _tensor_file(path) if path.suffix == ".safetensors" else load(str(path.resolve()), None, progress=progress).images
    channels, height, width = drawn.shape[1:]
    pool = load(absolute(data), height if height == width else None, limit=limit, progress=progress)
    if pool.image_shape != (channels, height, width):
        raise ShapeError(
            f"{path} and the training images differ in shape",
            got=f"{(channels, height, width)} and {pool.image_shape}",
            hint="Channels must be the same; square training images are brought to the images' size.",
        )
    return pool, {path.resolve().stem: drawn.clamp(-1, 1)}


def _tensor_file(path: Path) -> Tensor:
    """The tensor `images` of a file that `patchmosaic sample` wrote."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from patchmosaic.errors import DataError

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: cannot be read as safetensors ({error})") from error
    images = tensors.get("images")
    if images is None or images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
        hint = "A tensor `images` (n, C, H, W), floating point in [-1, 1], as `patchmosaic sample` writes it."
        raise DataError(f"{path} has no images", got=", ".join(tensors) or "nothing", hint=hint)
    if not bool(images.isfinite().all()):
        raise DataError(f"{path}: images must be finite", got="NaN or infinity")
    return images.float()


def _default_sizes(pool: ImageSet) -> list[int]:
    return [size for size in (3, 5, 9, 17) if size <= max(pool.image_shape[1:])]
