"""Training a network to predict the noise: Adam on the mean squared error of eps.

    loss = mean over batch, channels and pixels of (network(alpha_t x0 + sigma_t eps, t) - eps)²

Knowing nothing, the best answer is eps_hat = 0, whose loss is 1. At high noise eps is nearly x_t and the loss a hundred times
smaller than at low noise, so that a short training neglects the noise levels that decide what goes where. The objective
"log_mse", the mean over the batch of the logarithm of each image's loss, weighs all noise levels alike: its gradient is that of
loss / (its own size), as with the noise-level uncertainties of Karras et al. 2024 ("Analyzing and improving the training
dynamics of diffusion models", section 2.2) at their optimum. The paper's is "mse".

`train` is a plain loop; which batch a step sees is in batches.py, how a killed run goes on in training_state.py, what is kept
on the way in averaging.py and snapshots.py.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import torch
from jaxtyping import Float32
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import LabelError, NoiseLevelError, ShapeError, ValueRangeError
from patchmosaic.files import write_text
from patchmosaic.networks.averaging import averaged_copy, decay, update
from patchmosaic.networks.base import Network
from patchmosaic.networks.batches import draw_batch
from patchmosaic.networks.settings import TrainingSettings
from patchmosaic.networks.snapshots import check_snapshots, take_snapshot
from patchmosaic.networks.training_state import restore_state, save_state
from patchmosaic.noise import NoiseSchedule
from patchmosaic.progress import Progress, Work, silent

METRICS_FILE = "metrics.jsonl"
RECENT = 100  # steps whose mean loss is told as training goes on


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a training did.

    Attributes:
        losses: the mean squared error of every step, whatever the objective.
        precision: of the convolutions.
        resumed_from: the step at which this call took up the run; 0 for a new one.
        average: the network with the average of the weights, in evaluation mode; None where none was asked for.
    """

    losses: Float32[Tensor, " steps"]
    precision: Literal["float32", "bfloat16"]
    resumed_from: int
    average: Network | None


def train(
    module: Network,
    pool: ImageSet,
    schedule: NoiseSchedule,
    settings: TrainingSettings | None = None,
    folder: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    snapshots: Sequence[int] = (),
    save_every: float = 60.0,
    progress: Progress = silent,
) -> TrainingResult:
    """Train `module` in place; leaves it on `device`, in evaluation mode, with the weights of the last step.

    With a folder, the loss of each step is appended to its `metrics.jsonl`, and the state is saved at least every `save_every`
    seconds and at the end. Called again with the same arguments, it goes on from there and ends with the same weights, bit for
    bit, as if never interrupted (same machine and number of threads), whatever the weights of `module`; a finished run only
    loads them. `snapshots` are the numbers of steps, 0 among them, after which the network is kept in the folder as well.

    Raises:
        ShapeError, LabelError: the network does not fit the pool.
        NoiseLevelError: the settings show t = 0 to a network that cannot take it.
        CheckpointError: the folder's state is damaged, or belongs to another run, or the run has passed the step of a snapshot.
        ValueRangeError: the loss or the weights stopped being finite.
    """
    settings = settings or TrainingSettings()
    _check_fit(module, pool, settings)
    device = torch.device(device)
    precision = _resolved(settings.precision, device)
    module.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = None if settings.ema_half_life is None else averaged_copy(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
    identity = _identity(module, pool, schedule, settings)

    losses = torch.empty(settings.steps)
    past = torch.empty(0) if folder is None else restore_state(folder, module, average, optimizer, identity)
    losses[: len(past)] = past
    check_snapshots(folder, snapshots, settings.steps, len(past))
    with ExitStack() as stack:
        metrics = None if folder is None else stack.enter_context(_open_metrics(folder, past, settings))
        if folder is not None and len(past) in snapshots:
            take_snapshot(folder, len(past), module, average, schedule, pool, settings)
        saved = time.monotonic()
        for step in range(len(past), settings.steps):
            losses[step] = _step(module, optimizer, pool, schedule, settings, step, precision)
            if average is not None and settings.ema_half_life is not None:
                update(average, module, decay(settings.ema_half_life, settings.batch_size, step))
            done = step + 1
            last, snapshot = done == settings.steps, done in snapshots
            save = folder is not None and (last or time.monotonic() - saved >= save_every)
            _check_finite(module, losses[step].item(), step, weights=last or save or snapshot)
            if metrics is not None:
                metrics.write(_metrics_line(step, losses[step].item(), settings))
            # The snapshot first: a saved state has passed no snapshot that is not there.
            if folder is not None and snapshot:
                take_snapshot(folder, done, module, average, schedule, pool, settings)
            if folder is not None and save:
                save_state(folder, module, average, optimizer, losses[:done], identity)
                saved = time.monotonic()
            recent = losses[max(0, done - RECENT) : done].mean().item()
            progress(Work("training the network", f"loss {recent:.4f}"), done, settings.steps)
    module.eval()
    return TrainingResult(losses, precision, resumed_from=len(past), average=average)


def _step(
    module: Network,
    optimizer: torch.optim.Adam,
    pool: ImageSet,
    schedule: NoiseSchedule,
    settings: TrainingSettings,
    step: int,
    precision: Literal["float32", "bfloat16"],
) -> float:
    batch = draw_batch(pool, schedule, settings.batch_size, settings.seed, step, settings.times)
    device = next(module.parameters()).device
    x_t = batch.x_t.to(device).contiguous(memory_format=torch.channels_last)
    label = None if batch.label is None or module.num_classes is None else batch.label.to(device)
    for group in optimizer.param_groups:
        group["lr"] = settings.rate(step)
    optimizer.zero_grad()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        eps_hat = module(x_t, batch.t.to(device), label)
    losses = (eps_hat.float() - batch.eps.to(device)).square().mean((1, 2, 3))  # (B,)
    (losses.clamp_min(1e-12).log() if settings.objective == "log_mse" else losses).mean().backward()
    optimizer.step()
    return float(losses.detach().mean())


def _check_fit(module: Network, pool: ImageSet, settings: TrainingSettings) -> None:
    if settings.times == "thousandths" and module.estimates_x0:
        raise NoiseLevelError(
            "a network whose layers estimate x0 cannot tell eps where sigma_t = 0",
            got='times="thousandths", t = 0 among them',
            hint='Take times="continuous".',
        )
    if pool.image_shape[0] != module.channels:
        raise ShapeError(f"the network takes {module.channels} channels", got=f"images of {pool.image_shape}")
    if module.num_classes is not None:
        if pool.labels is None:
            raise LabelError("a class-conditional network needs labelled images", got=repr(pool))
        if pool.classes[-1] >= module.num_classes:
            raise LabelError(
                f"the network has classes 0 to {module.num_classes - 1}", got=f"images of class {pool.classes[-1]}"
            )


def _check_finite(module: Network, loss: float, step: int, *, weights: bool) -> None:
    finite = math.isfinite(loss) and (not weights or all(bool(p.isfinite().all()) for p in module.parameters()))
    if not finite:
        raise ValueRangeError(
            "training diverged: loss and weights must stay finite",
            got=f"a loss of {loss} at step {step + 1}",
            hint="Lower learning_rate, and train in a new folder.",
        )


def _resolved(precision: Literal["auto", "float32", "bfloat16"], device: torch.device) -> Literal["float32", "bfloat16"]:
    """A rule, not a timing: a resumed run must take the same path again."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "float32"


def _identity(module: Network, pool: ImageSet, schedule: NoiseSchedule, settings: TrainingSettings) -> dict[str, Any]:
    """What a run is a run of: a folder's state is taken up only where all of this is equal."""
    return {
        "network": {"architecture": type(module).__name__, **module.config()},
        "schedule": schedule.to_json(),
        "data": {"content_hash": pool.content_hash},
        "settings": settings.to_json(),
    }


def _open_metrics(folder: Path, past: Tensor, settings: TrainingSettings) -> TextIO:
    """The metrics file, with a line for each step in the state: what a killed run wrote beyond it is done again."""
    path = folder / METRICS_FILE
    write_text(path, "".join(_metrics_line(step, loss, settings) for step, loss in enumerate(past.tolist())))
    return path.open("a", buffering=1, encoding="utf-8")


def _metrics_line(step: int, loss: float, settings: TrainingSettings) -> str:
    return json.dumps({"step": step + 1, "loss": loss, "learning_rate": settings.rate(step)}) + "\n"
