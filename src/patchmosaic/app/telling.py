"""How a subject, a step and a provenance are told as messages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from patchmosaic.app.messages import Message, packed, picture
from patchmosaic.app.subjects import Subject
from patchmosaic.denoisers import (
    MACHINES,
    Denoiser,
    EquivariantDenoiser,
    EquivariantLocalDenoiser,
    PatchDenoiser,
    PosteriorDenoiser,
)
from patchmosaic.metrics import pearson_r
from patchmosaic.provenance import trace
from patchmosaic.provenance.explanation import class_title, telling_pixel
from patchmosaic.provenance.mosaic import Mosaic
from patchmosaic.report import MACHINES as MEANINGS
from patchmosaic.sampling import Step

TOP = 8  # sources that a pixel tells


def facts(subject: Subject, usual: int) -> Message:
    """What a subject is, and what can be asked of it; `usual` is how many of its images are used unasked."""
    pool = subject.pool
    names = dict(enumerate(pool.class_names))
    side = max(pool.image_shape[1:])
    return {
        "facts": {
            "name": subject.name,
            "note": subject.note,
            "plain": subject.plain,
            "shape": list(pool.image_shape),
            "images": len(pool),
            "usual": min(usual, subject.total),
            "total": subject.total,
            "classes": [{"label": label, "name": names.get(label, str(label))} for label in subject.classes],
            "titles": {label: class_title(pool, label) for label in pool.classes},
            "needs_class": subject.needs_class,
            "network": subject.network is not None,
            "machines": [_machine(name, subject) for name in MACHINES],
            "patch_sizes": list(range(3, side + 1 + side % 2, 2)),
            "has_results": bool(subject.results),
            "seeds": None,
            "start": {
                "machine": subject.machine,
                "steps": subject.steps,
                "seed": 0,
                "patch_size": subject.patch_size,
                "pixel": subject.pixel,
            },
        }
    }


def _machine(name: str, subject: Subject) -> dict[str, Any]:
    kind = MACHINES[name]
    return {
        "name": name,
        "meaning": MEANINGS[name],
        "windowed": issubclass(kind, PatchDenoiser),
        "wraps": issubclass(kind, EquivariantLocalDenoiser | EquivariantDenoiser),
        "traceable": issubclass(kind, PosteriorDenoiser),
        "calibrated": name in subject.scales,
    }


def began(subject: Subject, machine: Denoiser, times: Sequence[float], x_T: Float[Tensor, "1 C H W"]) -> Message:
    """What the steps will be, and the noise they start from."""
    levels = [float(subject.schedule.noise_level(t)) for t in times]
    sizes = [machine.size_at(level) if isinstance(machine, PatchDenoiser) else None for level in levels]
    return {
        "began": {
            "noise_levels": [level if math.isfinite(level) else None for level in levels],
            "patch_sizes": sizes,
            "x_T": _noisy(subject, x_T, times[0]),
        }
    }


def step(subject: Subject, number: int, own: Step, network: Step | None) -> Message:
    """One step of a machine; beside a network, that of the network and r, the correlation of the two x0_hat."""
    record = {"number": number, "x_t": _noisy(subject, own.x_t, own.t), "x0_hat": picture(own.x0_hat[0])}
    if network is not None:
        prediction, truth = (x0_hat.double().flatten(1).cpu() for x0_hat in (own.x0_hat, network.x0_hat))
        record["network_x0_hat"] = picture(network.x0_hat[0])
        record["r"] = float(pearson_r(prediction, truth))
    return {"step": record}


def _noisy(subject: Subject, x_t: Float[Tensor, "1 C H W"], t: float) -> dict[str, Any]:
    """x_t over its own size, so that what there is of an image is not lost among noise beyond black and white."""
    alpha, sigma = (float(scale) for scale in subject.schedule(t))
    return picture(x_t[0] / math.hypot(alpha, sigma))


def provenance(subject: Subject, machine: PosteriorDenoiser, label: int | None, number: int, at: Step) -> Message:
    """Where each pixel of a step's x0_hat comes from, as `patchmosaic.provenance.tracing` finds it, and the mosaic of it.

    `count` says for how many patches a source stands: in a subject of plain images, for all of its image.
    """
    everything = len(subject.pool) * math.prod(subject.pool.image_shape[1:])
    p = trace(machine, at.x_t, at.t, label, top=everything if subject.plain else TOP)
    image, row, column, weight = (part[0] for part in (p.image, p.row, p.column, p.weight))
    count = (image >= 0).long()
    if subject.plain:
        image, row, column, weight, count = _by_image(image, weight, len(subject.pool))
    mosaic = Mosaic(image[..., 0], row[..., 0], column[..., 0], weight[..., 0])
    return {
        "provenance": {
            "number": number,
            "image": packed(image, "i4"),
            "row": packed(row, "i4"),
            "column": packed(column, "i4"),
            "weight": packed(weight, "f4"),
            "count": packed(count, "i4"),
            "entropy": packed(p.entropy[0], "f4"),
            "entropy_share": packed(p.entropy_share[0], "f4"),
            "candidates": packed(p.candidates[0], "i4"),
            "effective_patches": packed(p.effective_patches[0], "f4"),
            "effective_images": packed(p.effective_images[0], "f4"),
            "telling": list(telling_pixel(p)),
            "boundary": mosaic.settled_boundary.tolist(),
            "mosaic": mosaic.summary(),
        }
    }


def _by_image(
    image: Int64[Tensor, "H W k"], weight: Float64[Tensor, "H W k"], images: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(image, row, column, weight, count) with the patches of an image as one source, shown at the pixel's own place."""
    height, width, _ = image.shape
    none = torch.zeros(height, width, images, dtype=torch.int64)
    known = image.clamp_min(0)
    total = none.double().scatter_add(2, known, weight)
    count = none.scatter_add(2, known, (image >= 0).long())
    order = total.argsort(dim=2, descending=True, stable=True)
    row = torch.arange(height)[:, None, None].expand_as(none)
    column = torch.arange(width)[None, :, None].expand_as(none)
    return order, row, column, total.gather(2, order), count.gather(2, order)
