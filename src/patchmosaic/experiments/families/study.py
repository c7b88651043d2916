"""What families of analytic denoisers generate: on targets that can be seen, and on images, from the same seeds.

Nothing is trained. Every family of images is made from two disjoint halves of them, as networks are in the architecture study
(`architectures.py`), and measured alike: nearest-training ratio, distance of the samples from held-out images, and correlation
of what the two halves draw from each seed. Where the law of the samples is known, samples of the first half are compared with
it; for polynomials the share of samples that met their bound is told.

Levine & Weiss 2026 ask which denoisers generate what; the laws were derived for this project.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from patchmosaic.analysis.memorisation import nearest_ratios
from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import Denoiser, PolynomialDenoiser
from patchmosaic.experiments.architectures.study import Parts
from patchmosaic.experiments.architectures.variants import Scale
from patchmosaic.experiments.families import small_targets
from patchmosaic.experiments.families.images import Family, image_families
from patchmosaic.experiments.families.small_targets import (
    SmallFamily,
    SmallOutcome,
    agreement,
    arcsine_outcome,
    fine_sample,
    fine_times,
    line_families,
    line_outcome,
    linear_code,
    plane_families,
    plane_outcome,
)
from patchmosaic.experiments.measures import realism_distance
from patchmosaic.experiments.outcomes import HALVES, Measures, Outcome
from patchmosaic.files import fingerprint, read_json, replacing, write_json
from patchmosaic.generation import generate
from patchmosaic.laws import generated_law
from patchmosaic.metrics import pearson_r
from patchmosaic.progress import Progress, silent
from patchmosaic.sampling import seeds

STEPS = 20
LAW_SEEDS = 1000  # samples that are compared with a law
LINE_SEEDS, RING_SEEDS, ARCSINE_SEEDS = 4000, 600, 4000
AT_ONCE = 64  # samples
Fields = dict[str, Any]
Tensors = dict[str, Tensor]
Measuring = Callable[[SmallFamily, int], SmallOutcome]


@dataclass(frozen=True, eq=False)
class FamilyOutcome(Outcome):
    """A family, its samples and its measures; of one that is fitted, there are no denoising errors.

    Attributes:
        law: how the samples of the first half agree with their law, where it is known; see `Agreement`.
        escaped: the share of the samples that met a polynomial's bound.
    """

    law: dict[str, Any] | None = None
    escaped: float | None = None

    def summary(self) -> dict[str, Any]:
        """The row of a table, JSON-able."""
        fields = super().summary()
        for absent in ("parameters", "train_errors", "test_errors"):
            del fields[absent]
        return {**fields, "law": self.law, "escaped": self.escaped}


def small_study(folder: Path, *, progress: Progress = silent) -> dict[str, dict[str, SmallOutcome]]:
    """The families on the line, on the ring and, of one, on the line of its code: "line", "ring", "arcsine", by title.

    Args:
        folder: `targets/NAME-HASH/` in it holds what is finished.
    """
    keep, line, ring = folder / "targets", line_families(), plane_families()
    total = len(line) + len(ring) + 1
    outcomes: dict[str, dict[str, SmallOutcome]] = {"line": {}, "ring": {}, "arcsine": {}}
    steps: list[tuple[str, SmallFamily, int, Measuring]] = [
        *(("line", family, LINE_SEEDS, line_outcome) for family in line),
        *(("ring", family, RING_SEEDS, partial(plane_outcome, others=outcomes["ring"])) for family in ring),
        ("arcsine", linear_code(), ARCSINE_SEEDS, arcsine_outcome),
    ]
    for done, (target, family, count, measure) in enumerate(steps, 1):
        outcomes[target][family.title] = _small(keep, target, family, count, measure)
        progress("small targets", done, total)
    return outcomes


def study(
    folder: Path, images: Parts, scale: Scale, *, device: torch.device | str = "cpu", progress: Progress = silent
) -> Iterator[FamilyOutcome]:
    """Make, draw and measure one family of images after another; what an earlier call finished is only read.

    Args:
        folder: `families/NAME-HASH/` in it holds a family's samples and outcome; the hash is of all they depend on.
        images: two halves and held-out ones; labels are not used.
        scale: of it, how many seeds.
    """
    recipes = image_families()
    for done, family in enumerate(recipes, 1):
        yield family_outcome(folder / "families", family, images, scale, device=device, progress=progress)
        progress("families", done, len(recipes))


def family_outcome(
    folder: Path, family: Family, images: Parts, scale: Scale, *, device: torch.device | str, progress: Progress = silent
) -> FamilyOutcome:
    """One family: read where it was finished, else made, drawn and measured."""
    count = min(scale.seeds, images.compared)
    denoisers = {half: family.make(own).to(device) for half, own in images.halves.items()}
    facts = {
        "made": [denoiser.describe() for denoiser in denoisers.values()],
        "held out": images.held_out.content_hash,
        "samples": [count, STEPS, LAW_SEEDS, family.known],
        **_fine(),
    }

    def finish() -> tuple[Fields, Tensors]:
        started = time.monotonic()
        raw = {half: _draw(denoiser, count, f"{family.title}, half {half}", progress) for half, denoiser in denoisers.items()}
        drawn = {half: samples.clamp(-1, 1) for half, samples in raw.items()}
        first = denoisers[HALVES[0]]
        fields = {
            "halves": {half: asdict(_measures(samples, images.halves[half], images)) for half, samples in drawn.items()},
            "agreement": pearson_r(*(samples.double().flatten(1) for samples in drawn.values())).tolist(),
            "escaped": _escaped(first, raw[HALVES[0]]),
            "law": None if family.known is None else _law(first, family, progress),
            "seconds": round(time.monotonic() - started, 1),
        }
        return fields, drawn

    fields, tensors = _kept(folder / f"{_slug(family.title)}-{fingerprint(facts)}", finish)
    fields["halves"] = {half: Measures(**measures) for half, measures in fields["halves"].items()}
    samples = torch.stack([tensors[half] for half in HALVES])
    return FamilyOutcome(family.kind, family.name, family.title, 0, samples=samples, **fields)


def results(
    small: dict[str, dict[str, SmallOutcome]], outcomes: Sequence[FamilyOutcome], images: Parts, scale: Scale
) -> Fields:
    """All numbers of the study, JSON-able. `held_out`: what as many real images as there are samples measure."""
    count = min(scale.seeds, images.compared)
    real = images.held_out.at(slice(count))
    return {
        "images": {name: len(part) for name, part in [*images.halves.items(), ("held out", images.held_out)]},
        "seeds": {"images": count, "laws": LAW_SEEDS, "line": LINE_SEEDS, "ring": RING_SEEDS, "arcsine": ARCSINE_SEEDS},
        "steps": {"images": STEPS, "small targets": small_targets.STEPS},
        "held_out": {
            "nearest_ratio": float(nearest_ratios(real, images.halves[HALVES[0]]).quantile(0.5)),
            "realism": realism_distance(real, images.real()),
        },
        **{target: {title: outcome.numbers for title, outcome in some.items()} for target, some in small.items()},
        "families": {outcome.title: outcome.summary() for outcome in outcomes},
        "measures": {outcome.title: {half: asdict(own) for half, own in outcome.halves.items()} for outcome in outcomes},
    }


def _small(folder: Path, target: str, family: SmallFamily, count: int, measure: Measuring) -> SmallOutcome:
    def finish() -> tuple[Fields, Tensors]:
        outcome = measure(family, count)
        return outcome.numbers, {"samples": outcome.samples}

    facts = {"made": family.make().describe(), "samples": [count, family.known, family.twin], **_fine()}
    numbers, tensors = _kept(folder / f"{_slug(f'{target} {family.title}')}-{fingerprint(facts)}", finish)
    return SmallOutcome(family, tensors["samples"], numbers)


def _fine() -> Fields:
    return {"fine": [small_targets.STEPS, small_targets.LOWEST]}


def _draw(denoiser: Denoiser, count: int, name: str, progress: Progress) -> Float[Tensor, "n C H W"]:
    return generate(denoiser, range(count), steps=STEPS, batch_size=AT_ONCE, name=name, progress=progress)


def _measures(samples: Float[Tensor, "n C H W"], own: ImageSet, images: Parts) -> Measures:
    return Measures([], [], nearest_ratios(samples, own).tolist(), realism_distance(samples, images.real()))


def _escaped(denoiser: Denoiser, samples: Float[Tensor, "n C H W"]) -> float | None:
    """The share of samples on a polynomial's bound."""
    return float(denoiser.escaped(samples).double().mean()) if isinstance(denoiser, PolynomialDenoiser) else None


def _law(denoiser: Denoiser, family: Family, progress: Progress) -> Fields:
    """Samples beside their law: of the steps that the pictures show, or of a fine grid where the limit is known."""
    if family.known == "steps":
        return agreement(generated_law(denoiser, STEPS), _draw(denoiser, LAW_SEEDS, f"{family.title}, its law", progress))
    samples = []
    for numbers in torch.arange(LAW_SEEDS).split(AT_ONCE):
        x_T = seeds(numbers.tolist(), denoiser.image_shape).to(denoiser.device) * denoiser.schedule.prior_std()
        samples.append(fine_sample(denoiser, x_T).x0.cpu())
        progress(f"{family.title}, its law", min(len(samples) * AT_ONCE, LAW_SEEDS), LAW_SEEDS)
    return agreement(generated_law(denoiser, None, times=fine_times(denoiser)), torch.cat(samples))


def _kept(place: Path, finish: Callable[[], tuple[Fields, Tensors]]) -> tuple[Fields, Tensors]:
    """What a folder keeps, finished first where it is not there."""
    record, samples = place / "outcome.json", place / "samples.safetensors"
    if not record.exists():
        fields, tensors = finish()
        with replacing(samples) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
        write_json(record, fields)  # last: where it is, all of it is there
    return read_json(record), load_file(samples)


def _slug(title: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())
