"""The training curve: the loss of every step, as the mean of neighbouring steps within the band of most of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from patchmosaic.errors import CheckpointError
from patchmosaic.plots.display import Display
from patchmosaic.plots.style import COLUMN, SMALL, Theme, dress, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 120
BAND = (10, 90)  # percent of the steps that share a point


class TrainingCurveDisplay(Display):
    """Loss against optimiser step.

    Args:
        steps: (n,) counted from 1.
        losses: (n,) mean squared error of eps; 1 is the loss of predicting no noise at all.
    """

    def __init__(self, steps: Float64[np.ndarray, " n"], losses: Float64[np.ndarray, " n"]) -> None:
        self.steps, self.losses = steps, losses

    @classmethod
    def from_metrics(cls, path: str | Path) -> TrainingCurveDisplay:
        """Read the `metrics.jsonl` of a training folder; a last line that a killed run left unfinished is passed over.

        Raises:
            CheckpointError: no such file, no step in it, or a line that is not a step.
        """
        path = Path(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(
                "cannot read the training metrics", got=path, hint="Training writes metrics.jsonl."
            ) from error
        whole = [line for line in lines if line.endswith("\n")]
        if not whole:
            raise CheckpointError("the training metrics hold no step", got=path)
        points = [_point(path, number, line) for number, line in enumerate(whole, 1)]
        steps, losses = np.array(points, dtype=np.float64).T
        return cls(steps, losses)

    @property
    def size(self) -> tuple[float, float]:
        return COLUMN, 2.3

    @property
    def last(self) -> float:
        """The mean loss of the last twentieth of the steps."""
        return float(self.losses[-max(1, len(self.losses) // 20) :].mean())

    @property
    def alt(self) -> str:
        return f"Training loss over {int(self.steps[-1]):,} steps: from {self.losses[0]:.3f} down to {self.last:.3f}."

    def _draw(self, ax: Axes, theme: Theme) -> None:
        groups = np.array_split(np.arange(len(self.losses)), min(POINTS, len(self.losses)))
        steps = [self.steps[group].mean() for group in groups]
        low, high = np.array([np.percentile(self.losses[group], BAND) for group in groups]).T
        ax.axhline(1.0, color=theme.muted, linewidth=0.7, linestyle=(0, (3, 2)))
        ax.annotate(
            "predicting no noise at all",
            (1.0, 1.0),
            xycoords=("axes fraction", "data"),
            xytext=(0, -2),
            textcoords="offset points",
            fontsize=SMALL,
            color=theme.muted,
            ha="right",
            va="top",
        )
        ax.fill_between(steps, low, high, color=theme.ink, alpha=0.14, linewidth=0)
        ax.plot(steps, [self.losses[group].mean() for group in groups], color=theme.ink, linewidth=1.4)
        ax.set_yscale("log")
        plain_log(ax.yaxis, (1.0, 2.0, 5.0))
        dress(
            ax,
            theme,
            title=f"Training the network: loss {self.last:.3f}",
            xlabel=f"step   (line: mean; shaded: middle {BAND[1] - BAND[0]}% of steps)",
            ylabel="error of the predicted noise",
            grid="y",
        )
        ax.set_xlim(0, self.steps[-1])


def _point(path: Path, number: int, line: str) -> tuple[float, float]:
    try:
        record = json.loads(line)
        return float(record["step"]), float(record["loss"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError("not a line of training metrics", got=f"line {number} of {path}: {line[:60]!r}") from error
