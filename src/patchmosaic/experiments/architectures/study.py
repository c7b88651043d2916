"""What the architecture does to what is generated: one factor at a time round a base UNet, and MLPs of growing width.

Every variant is trained twice, on two disjoint halves of the images, with the same order, noise levels, noise and number of
steps, and draws the same seeds. Two rows of the results differ in the architecture, the two networks of a row in the images
only. Measured of each network (measures.py): nearest-training ratio, denoising error per noise level on its own images and on
held-out ones, and distance of its samples from held-out images; of each pair: the correlation of their samples, seed by seed,
which is near 1 where it no longer matters which images were seen (Kadkhodaie et al. 2024). The closed forms that copy (IS) and
that know mean and covariance only (Wiener) are measured alike, for orientation.

Levine & Weiss 2026, whose question this is, train a network for each noise level. Here one network that is told the time
serves all: far cheaper, but what is learned at one noise level acts on the others. The layers estimate x0, because a network
without skips or with a narrow layer cannot pass on the noise, which a network that estimates noise would have to.

References:
    Kadkhodaie, Guth, Simoncelli & Mallat 2024, "Generalization in diffusion models arises from geometry-adaptive harmonic
    representations", section 2.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from patchmosaic.analysis.memorisation import nearest_ratios
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import Denoiser, NetworkDenoiser
from patchmosaic.errors import DataError
from patchmosaic.experiments.architectures.variants import SCHEDULE, Scale, Variant, chosen
from patchmosaic.experiments.measures import denoising_errors, realism_distance
from patchmosaic.experiments.outcomes import HALVES, TIMES, Measures, Outcome
from patchmosaic.files import fingerprint, read_json, replacing, write_json
from patchmosaic.generation import generate
from patchmosaic.metrics import pearson_r
from patchmosaic.networks import Network, save_network, train
from patchmosaic.progress import Progress, silent

SAMPLING_STEPS = 20
TESTED = 256  # images of each kind on which denoising errors are measured


@dataclass(frozen=True, eq=False)
class Parts:
    """The images of a study: two disjoint halves to train on, and held-out ones."""

    halves: dict[str, ImageSet]
    held_out: ImageSet

    @property
    def compared(self) -> int:
        """Held-out images that are set apart: as many as the networks draw, to be measured as samples are."""
        return len(self.held_out) // 2

    def real(self) -> Float[Tensor, "R C H W"]:
        """The held-out images that samples are compared with."""
        return self.held_out.at(slice(self.compared, None))


def parts(pool: ImageSet, scale: Scale) -> Parts:
    """Disjoint parts of the pool, drawn without replacement.

    Raises:
        DataError: there are too few images.
    """
    held_out = min(scale.held_out, len(pool) // 5)
    each = min(scale.images, (len(pool) - held_out) // 2)
    if min(each, held_out) < 4:
        raise DataError("a study needs at least 20 images", got=len(pool))
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))
    ends = (held_out, held_out + each, held_out + 2 * each)
    kept, first, second = (pool.subset(order[start:end]) for start, end in zip((0, *ends), ends, strict=False))
    return Parts(dict(zip(HALVES, (first, second), strict=True)), kept)


def study(
    folder: Path,
    pool: ImageSet,
    scale: Scale,
    names: Sequence[str] | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> Iterator[Outcome]:
    """Train, draw and measure one variant after another, and keep `results.json`; what an earlier call finished is only read.

    Args:
        folder: `variants/NAME-HASH/` in it holds a variant's networks, samples and outcome; the hash is of all they depend on.
        pool: the images, from which halves and held-out images are drawn; labels are not used.
        names: titles of the variants to run; by default all. The base takes part always.

    Raises:
        DataError: too few images.
        PatchMosaicError: no such variant.
        ShapeError: the sides of the images are not multiples of 4.
    """
    images = parts(pool, scale)
    wanted = chosen(scale, names)
    outcomes: list[Outcome] = []
    for variant in wanted:
        outcomes.append(outcome(folder / "variants", variant, images, scale, device=device, progress=progress))
        write_json(folder / "results.json", results(outcomes, images, scale))
        progress("variants", len(outcomes), len(wanted))
        yield outcomes[-1]


def outcome(
    folder: Path, variant: Variant, images: Parts, scale: Scale, *, device: torch.device | str, progress: Progress = silent
) -> Outcome:
    """One variant: read where it was finished, else trained, drawn and measured. Training goes on where it was stopped."""
    started = time.monotonic()
    shape = images.held_out.image_shape
    network = variant.network and variant.network(shape)
    place = folder / f"{_slug(variant.title)}-{fingerprint(_dependences(variant, network, images, scale))}"
    record, tensors = place / "outcome.json", place / "samples.safetensors"
    if not record.exists():
        drawn, measured = [], {}
        for half, own in images.halves.items():
            told = _named(progress, f"{variant.title}, half {half}")
            denoiser = _denoiser(variant, own, scale, place / half, device, told)
            count = min(scale.seeds, images.compared)
            samples = generate(denoiser, range(count), steps=SAMPLING_STEPS, image_shape=shape, batch_size=64).clamp(-1, 1)
            drawn.append(samples)
            measured[half] = _measures(denoiser, samples, own, images)
        agreement = pearson_r(*(samples.double().flatten(1) for samples in drawn))
        with replacing(tensors) as temporary:
            save_file(dict(zip(HALVES, drawn, strict=True)), temporary)
        fields = {
            "factor": variant.factor,
            "name": variant.name,
            "title": variant.title,
            "parameters": 0 if network is None else sum(parameter.numel() for parameter in network.parameters()),
            "halves": {half: asdict(measures) for half, measures in measured.items()},
            "agreement": agreement.tolist(),
            "seconds": round(time.monotonic() - started, 1),
        }
        write_json(record, fields)  # last: where it is, all of it is there
    fields = read_json(record)
    fields["halves"] = {half: Measures(**measures) for half, measures in fields["halves"].items()}
    stored = load_file(tensors)
    return Outcome(**fields, samples=torch.stack([stored[half] for half in HALVES]))


def _denoiser(
    variant: Variant, own: ImageSet, scale: Scale, folder: Path, device: torch.device | str, progress: Progress
) -> Denoiser:
    if variant.network is None:
        assert variant.closed_form is not None
        return variant.closed_form(own, SCHEDULE).to(device)
    network = variant.network(own.image_shape)
    train(network, own, SCHEDULE, scale.settings(), folder, device=device, progress=progress)
    save_network(folder, network, SCHEDULE, own, settings=scale.settings())
    return NetworkDenoiser(network, schedule=SCHEDULE, image_shape=own.image_shape)


def _measures(denoiser: Denoiser, samples: Tensor, own: ImageSet, images: Parts) -> Measures:
    return Measures(
        train_errors=denoising_errors(denoiser, own.at(slice(TESTED)), TIMES),
        test_errors=denoising_errors(denoiser, images.held_out.at(slice(TESTED)), TIMES),
        nearest_ratios=nearest_ratios(samples, own).tolist(),
        realism=realism_distance(samples, images.real()),
    )


def results(outcomes: Sequence[Outcome], images: Parts, scale: Scale) -> dict[str, Any]:
    """All numbers of the study, JSON-able. `held_out`: what as many real images as there are samples measure."""
    count = min(scale.seeds, images.compared)
    real = images.held_out.at(slice(count))
    return {
        "scale": asdict(scale),
        "images": {name: len(part) for name, part in [*images.halves.items(), ("held out", images.held_out)]},
        "times": list(TIMES),
        "noise_levels": SCHEDULE.noise_level(torch.tensor(TIMES)).tolist(),
        "held_out": {
            "nearest_ratio": float(nearest_ratios(real, images.halves["A"]).quantile(0.5)),
            "realism": realism_distance(real, images.real()),
        },
        "summary": {outcome.title: outcome.summary() for outcome in outcomes},
        "measures": {
            outcome.title: {
                "halves": {half: asdict(measures) for half, measures in outcome.halves.items()},
                "agreement": outcome.agreement,
            }
            for outcome in outcomes
        },
    }


def _dependences(variant: Variant, network: Network | None, images: Parts, scale: Scale) -> dict[str, Any]:
    return {
        "variant": variant.title,
        "network": None if network is None else {"architecture": type(network).__name__, **network.config()},
        "settings": scale.settings().to_json(),
        "samples": [scale.seeds, SAMPLING_STEPS],
        "times": TIMES,
        "data": [part.content_hash for part in (*images.halves.values(), images.held_out)],
    }


def _named(progress: Progress, name: str) -> Progress:
    def told(what: str, done: int, total: int) -> None:
        progress(name, done, total)

    return told


def _slug(title: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())
