"""Calibration: which patch size makes an analytic machine most like a given network, at each noise level.

The network's own reverse trajectories are run from held-out seeds. At every step its score s is compared with that of the
machine, m, at every patch size on the same x_t; the best size of each seed is taken, and then the median over seeds, halves
upwards. The best is, by the objective,

    "cosine"   the largest s·m / (‖s‖ ‖m‖), the paper's
    "mse"      the least ‖m - s‖² / ‖s‖²

Both are kept: a finished calibration gives the scale of either.

References:
    Kamb & Ganguli 2024, section 5 and appendix (calibration of locality scales).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import MACHINES, Denoiser, NetworkDenoiser, PatchDenoiser
from patchmosaic.denoisers.base import per_sample, score_from_x0
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.errors import CheckpointError, PatchMosaicError, PatchSizeError
from patchmosaic.files import read_json, write_json
from patchmosaic.generation import seed_keys, starting_points
from patchmosaic.locality import LARGEST_NOISE_LEVEL, LocalityScale, check_patch_size
from patchmosaic.progress import Progress, silent
from patchmosaic.sampling import ddim, seed_labels
from patchmosaic.store import SeedKey, SeedStore

# Calibration draws its seeds from this stream and comparison from stream 0: no seed is used for both.
HELD_OUT_STREAM = 1
Objective = Literal["cosine", "mse"]


@dataclass(frozen=True)
class Calibration:
    """The fitted scale, and what it was fitted from.

    Attributes:
        machine: "LS", "ELS" or "bbELS".
        scale: the locality scale, keyed by noise level.
        noise_levels: (steps,) sigma_t / alpha_t of each step, increasing.
        patch_sizes: the K sizes that were compared.
        cosine: (seeds, steps, K) cosine of the network's score and the machine's.
        error: (seeds, steps, K) squared difference of the two over the square of the network's; None where it is not known.
        objective: which of the two decides.
    """

    machine: str
    scale: LocalityScale
    noise_levels: tuple[float, ...]
    patch_sizes: tuple[int, ...]
    cosine: Float64[Tensor, "seeds steps K"]
    error: Float64[Tensor, "seeds steps K"] | None = None
    objective: Objective = "cosine"

    @property
    def best(self) -> Int64[Tensor, "seeds steps"]:
        """The best patch size of each seed at each step."""
        if self.objective == "cosine":
            return torch.tensor(self.patch_sizes)[self.cosine.argmax(-1)]
        assert self.error is not None
        return torch.tensor(self.patch_sizes)[self.error.argmin(-1)]

    def fitted(self, objective: Objective = "cosine", *, monotone: bool = False) -> Calibration:
        """The calibration with the scale that `objective` gives, from the same seeds.

        Args:
            monotone: the smallest scale above it that never shrinks as the noise grows.

        Raises:
            PatchMosaicError: an unknown objective, or one of which nothing is known.
        """
        if objective not in get_args(Objective):
            raise PatchMosaicError("objective must be cosine or mse", got=repr(objective))
        if objective == "mse" and self.error is None:
            raise PatchMosaicError("this calibration has no squared errors", got="cosines only", hint="Calibrate again.")
        chosen = replace(self, objective=objective)
        medians = [_median_size(best, self.patch_sizes) for best in chosen.best.T]
        if self.noise_levels[-1] >= LARGEST_NOISE_LEVEL and len(medians) > 1:
            # Where alpha_t = 0 every patch size gives the same score, -x_t / sigma_t²: keep the size of the level below.
            medians[-1] = medians[-2]
        scale = LocalityScale(self.noise_levels, tuple(medians))
        return replace(chosen, scale=scale.monotone() if monotone else scale)

    def spread(self, fraction: float = 0.5) -> tuple[list[float], list[float]]:
        """The central `fraction` of the seeds' best patch sizes at each step: (lower, upper)."""
        tails = torch.tensor([(1 - fraction) / 2, (1 + fraction) / 2], dtype=torch.float64)
        lower, upper = torch.quantile(self.best.double(), tails, dim=0)
        return lower.tolist(), upper.tolist()

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary from which `from_json` rebuilds the calibration."""
        return {
            "machine": self.machine,
            "scale": self.scale.to_json(),
            "noise_levels": list(self.noise_levels),
            "patch_sizes": list(self.patch_sizes),
            "cosine": self.cosine.tolist(),
            "error": None if self.error is None else self.error.tolist(),
            "objective": self.objective,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Calibration:
        """Rebuild the calibration that `to_json` described.

        Raises:
            CheckpointError: the record is not a calibration.
        """
        try:
            return cls(
                record["machine"],
                LocalityScale.from_json(record["scale"]),
                tuple(record["noise_levels"]),
                tuple(record["patch_sizes"]),
                torch.tensor(record["cosine"], dtype=torch.float64),
                None if record.get("error") is None else torch.tensor(record["error"], dtype=torch.float64),
                record.get("objective", "cosine"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("not a calibration", got=str(record)[:80]) from error

    def save(self, path: str | Path) -> None:
        """Write the calibration as JSON."""
        write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a calibration written by `save`."""
        return cls.from_json(read_json(Path(path), hint="`patchmosaic calibrate` writes it."))


def calibrate(
    network: Denoiser,
    pool: ImageSet,
    machine: str = "ELS",
    seeds: int | Sequence[int] = 8,
    steps: int = 20,
    *,
    patch_sizes: Sequence[int] | None = None,
    objective: Objective = "cosine",
    monotone: bool = False,
    conditional: bool | None = None,
    memory_budget: int = DEFAULT_BUDGET,
    batch_size: int = 2,
    keep: Path | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Fit the locality scale of `machine` to a network.

    Args:
        network: the denoiser to be imitated; its schedule is the machine's too.
        pool: the images that it was trained on.
        machine: "LS", "ELS" or "bbELS".
        seeds: how many held-out seeds, or which; with their random labels they come from a stream that `compare` never uses.
        steps: DDIM steps of the trajectory; the scale has one patch size for each.
        patch_sizes: sizes to compare; by default every odd size from 3 to the image side, or to the network's
            receptive field where it is known and smaller.
        objective: what the best patch size of a seed is; costs nothing to change, see `Calibration.fitted`.
        monotone: replace the scale by the smallest one above it that never shrinks as the noise grows.
        conditional: draw a random label for each seed; by default where the network has classes.
        batch_size: seeds in work at once; does not change the result.
        keep: a folder that remembers finished seeds.
        progress: called with the steps done over all seeds.

    Raises:
        PatchMosaicError: no such patch machine or objective.
        PatchSizeError: an impossible patch size.
    """
    kind = MACHINES.get(machine)
    if kind is None or not issubclass(kind, PatchDenoiser):
        raise PatchMosaicError("only patch machines have a locality scale", got=repr(machine), hint="LS, ELS or bbELS.")
    sizes = tuple(patch_sizes) if patch_sizes is not None else _default_patch_sizes(network, pool)
    if not sizes:
        raise PatchSizeError("there must be a patch size to compare", got=patch_sizes)
    analytic = kind(pool, check_patch_size(sizes[0]), schedule=network.schedule, memory_budget=memory_budget)
    analytic.to(network.device)

    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    conditional = bool(network.classes) if conditional is None else conditional
    keys = seed_keys(numbers, seed_labels(numbers, pool.classes, HELD_OUT_STREAM) if conditional else None)
    description = {**network.describe(), "machine": analytic.describe(), "steps": steps, "patch_sizes": list(sizes)}
    store = SeedStore(keep, f"calibration-{machine}", {**description, "kept": ["cosine", "error"]})
    missing = store.missing(keys)
    for start in range(0, len(missing), batch_size):
        batch = missing[start : start + batch_size]
        compared = []
        for agreement in _agreements(network, analytic, batch, steps, sizes):
            compared.append(agreement)
            progress(f"calibrating {machine}", start * steps + len(compared) * len(batch), len(missing) * steps)
        for key, result in zip(batch, torch.stack(compared, 2).flip(2), strict=True):  # lowest noise first
            store.put(key, result)

    cosine, error = store.get(keys).unbind(1)  # (seeds, steps, K) each
    levels = tuple(min(float(network.schedule.noise_level((i + 1) / steps)), LARGEST_NOISE_LEVEL) for i in range(steps))
    unfitted = LocalityScale(levels, (sizes[0],) * steps)
    return Calibration(machine, unfitted, levels, sizes, cosine, error).fitted(objective, monotone=monotone)


def _agreements(
    network: Denoiser, machine: PatchDenoiser, keys: Sequence[SeedKey], steps: int, sizes: Sequence[int]
) -> Iterator[Float64[Tensor, "B 2 K"]]:
    """For each step of the network's trajectories, highest noise first: cosine and error of each sample and patch size."""
    x_T, label = starting_points(network, keys, machine.image_shape, HELD_OUT_STREAM)
    for step in ddim(network, x_T, steps, label):
        alpha, sigma = (per_sample(scale[None], x_T) for scale in network.schedule(step.t))
        x0_hats = machine.at_patch_sizes(step.x_t, step.t, sizes, label)  # (K, B, C, H, W)
        theirs = score_from_x0(step.x_t, step.x0_hat, alpha, sigma).flatten(1).double()  # (B, CHW)
        ours = score_from_x0(step.x_t, x0_hats, alpha, sigma).flatten(2).double()  # (K, B, CHW)
        cosine = torch.nn.functional.cosine_similarity(ours, theirs, dim=-1)  # (K, B)
        error = (ours - theirs).square().sum(-1) / theirs.square().sum(-1)
        yield torch.stack([cosine, error]).permute(2, 0, 1).cpu()


def _median_size(best: Int64[Tensor, " seeds"], sizes: Sequence[int]) -> int:
    """The compared size nearest to the median; halfway between two the larger, so that few seeds do not lean low."""
    median = float(best.double().quantile(0.5))
    return min(sizes, key=lambda size: (abs(size - median), -size))


def _default_patch_sizes(network: Denoiser, pool: ImageSet) -> tuple[int, ...]:
    side = max(pool.image_shape[1:])
    largest = side + 1 - side % 2
    if isinstance(network, NetworkDenoiser):
        largest = min(largest, getattr(network.module, "receptive_field", largest))
    return tuple(range(3, max(largest, 3) + 1, 2))
