"""How many of some figures have too few limbs, the right number or too many, and how many show no figure at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from scipy import stats

from patchmosaic.analysis.limbs import UNREADABLE
from patchmosaic.errors import DataError
from patchmosaic.metrics import Interval

Verdict = Literal["too few", "right", "too many", "no figure"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class LimbTally:
    """The limbs of some images that should all show a figure with `expected` limbs.

    Args:
        counts: of each image, -1 where it is unreadable.
        expected: the right number.

    Raises:
        DataError: no images.
    """

    counts: tuple[int, ...]
    expected: int

    def __post_init__(self) -> None:
        if not self.counts:
            raise DataError("a tally needs at least one image", got="none")

    def verdict(self, count: int) -> Verdict:
        """What a count means."""
        if count == UNREADABLE:
            return "no figure"
        if count == self.expected:
            return "right"
        return "too few" if count < self.expected else "too many"

    def share(self, *verdicts: Verdict) -> Interval:
        """The share of images with one of these verdicts, and its bootstrap 95% interval.

        How many of n images drawn again have them is binomial with n and the share: its quantiles are exact, nothing is drawn.
        """
        n = len(self.counts)
        share = sum(self.verdict(count) in verdicts for count in self.counts) / n
        low, high = (float(end) / n for end in stats.binom.interval(0.95, n, share)) if 0 < share < 1 else (share, share)
        return Interval(share, low, high)

    @property
    def wrong(self) -> Interval:
        """The share with another count than the right one, unreadable images among them."""
        return self.share("too few", "too many", "no figure")

    def to_json(self) -> dict[str, Any]:
        """Counts, shares and the interval of the wrong ones."""
        wrong = self.wrong
        return {
            "counts": list(self.counts),
            "expected": self.expected,
            **{verdict: self.share(verdict).value for verdict in VERDICTS},
            "wrong": [wrong.value, wrong.low, wrong.high],
        }
