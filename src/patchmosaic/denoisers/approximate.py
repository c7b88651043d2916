"""The cheapest answer within a tolerance: for each sample of each call, one of

    exact            the whole pool; what float32 and the engine's own skipping leave, below 1e-5, is not counted
    coarse to fine   IS and ES: the shadows of all images bound their weights, those that may count are looked at, and what
                     the others could weigh is a guaranteed bound of the error
    subset           random images, more and more of them, until a jackknife over independent parts says that it is enough:
                     an estimate, and so only where the caller allows it

The relative L2 error of x0_hat against the machine's own is at most `tolerance`: always where guaranteed, nearly always where
estimated. What each way costs is measured on the computer that runs it; the choice depends on it, the promise does not.

Of the patch machines (LS, ELS, bbELS) practically every image is needed by some pixel, even if one knew beforehand which
(docs/approximation.md), so that no bound of whole images helps them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from patchmosaic.denoisers.base import Denoiser, samples_by_label
from patchmosaic.denoisers.costs import Cost, measured
from patchmosaic.denoisers.equivariant import EquivariantDenoiser
from patchmosaic.denoisers.ideal import IdealDenoiser
from patchmosaic.denoisers.posterior import PosteriorDenoiser
from patchmosaic.denoisers.wrapper import Wrapper
from patchmosaic.engine.refinement import FIRST, CoarseToFine, RandomSubset, Refined
from patchmosaic.engine.shadows import Coordinates, Shadows, cosines, shadow_bytes, spectrum
from patchmosaic.errors import PatchMosaicError

Method = Literal["exact", "coarse to fine", "subset"]
# x_t and t of one sample, its label, and how many images to begin with -> what was begun
Way = Callable[[Tensor, Tensor, int | None, int], CoarseToFine | RandomSubset]

STAKE = 0.2  # of the cost of the exact answer may be spent on finding out that nothing else is cheaper

# The machines with one softmax for the whole image, and the coordinates in which their weights are bounded.
COORDINATES: dict[type[PosteriorDenoiser], Coordinates] = {IdealDenoiser: cosines, EquivariantDenoiser: spectrum}

# What was found out about a machine, for as long as it lives: all its approximations share it.
_SHADOWS: WeakKeyDictionary[PosteriorDenoiser, Shadows] = WeakKeyDictionary()
_COSTS: WeakKeyDictionary[PosteriorDenoiser, dict[object, dict[Method, Cost]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Choice:
    """How one sample was answered.

    Attributes:
        method: which way.
        images: how many of the pool it looked at.
        error: relative L2 error of x0_hat beyond rounding: at most this where guaranteed, else about this.
        guaranteed: whether `error` is a bound.
    """

    method: Method
    images: int
    error: float
    guaranteed: bool


class Approximate(Wrapper):
    """A machine that answers within a tolerance, as cheaply as it can.

        fast = Approximate(IdealDenoiser(pool), tolerance=1e-3)
        fast(x_t, t)       at most 1e-3 from IdealDenoiser(pool)(x_t, t), in relative L2 norm
        fast.last          how each sample of the last call was answered

    Samples are dealt with one by one, so that each has its own way and none depends on the others of a batch.

    Args:
        machine: whose answers to approximate.
        tolerance: the relative L2 error of x0_hat to keep, at least 1e-5, which is what float32 can keep.
        guaranteed: False also allows random subsets, whose error is estimated: a preview that knows when to stop.
        seed: of the random subsets.
        costs: what each way costs a sample; measured when a batch of a new size comes, unless given. The choice depends on
            it, so that only given costs make the last digits of a result repeatable. Ways without a cost are not taken.

    Raises:
        PatchMosaicError: a tolerance that is not between 1e-5 and 1, a machine without a pool, or, on a call, one that is
            spread over processes.
    """

    def __init__(
        self,
        machine: Denoiser,
        tolerance: float = 1e-3,
        *,
        guaranteed: bool = True,
        seed: int = 0,
        costs: Mapping[Method, Cost] | None = None,
    ) -> None:
        super().__init__(machine, seed)
        if not 1e-5 <= tolerance < 1:
            raise PatchMosaicError(
                "a tolerance is a relative error from 1e-5 up to 1", got=tolerance, hint="The machine itself is exact to 1e-5."
            )
        self.tolerance = tolerance
        self.guaranteed = guaranteed
        self.costs = costs
        self.last: tuple[Choice, ...] = ()

    def _denoise(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        x0_hat = torch.empty_like(x_t)
        choices: dict[int, Choice] = {}
        for value, samples in samples_by_label(label, len(x_t), self.device):
            costs = self._costs(x_t[samples], t[samples], value)
            exactly = []
            for i in samples.tolist():
                found = self._within_tolerance(x_t[i : i + 1], t[i : i + 1], value, costs)
                if found is None:
                    exactly.append(i)
                    choices[i] = Choice("exact", len(self._images(value)), 0.0, True)
                else:
                    method, refined = found
                    choices[i] = Choice(method, refined.images, refined.error, method != "subset")
                    x0_hat[i] = refined.mean[0].to(x_t)
            if exactly:
                x0_hat[exactly] = self.machine._denoise(x_t[exactly], t[exactly], None if label is None else label[exactly])
        self.last = tuple(choices[i] for i in range(len(x_t)))
        return x0_hat

    def _within_tolerance(
        self, x_t: Tensor, t: Tensor, label: int | None, costs: Mapping[Method, Cost]
    ) -> tuple[Method, Refined] | None:
        """The cheapest answer to one sample; None where that is the exact one."""
        ways = {method: way for method, way in self._ways(label).items() if method in costs}
        budget = costs["exact"](len(self._images(label))) if ways else 0.0
        begun = {method: way(x_t, t, label, FIRST) for method, way in ways.items() if costs[method](FIRST) < STAKE * budget}
        if not begun:
            return None
        cheapest = min(begun, key=lambda method: costs[method].image * begun[method].missing)
        # Whatever a clock said on a busy computer: half of all images, chosen, are not much cheaper than all in a row.
        most = min(costs[cheapest].images(budget), len(self._images(label)) // 2)
        refined = begun[cheapest].finish(most)
        return None if refined is None else (cheapest, refined)

    def _ways(self, label: int | None) -> dict[Method, Way]:
        """The ways that are open to a sample with this label, beside the exact one."""
        ways: dict[Method, Way] = {}
        if len(self._images(label)) > FIRST:
            if self._shadows() is not None:
                ways["coarse to fine"] = self._coarse_to_fine
            if not self.guaranteed:
                ways["subset"] = self._random_subset
        return ways

    def _coarse_to_fine(self, x_t: Tensor, t: Tensor, label: int | None, first: int) -> CoarseToFine:
        shadows, images = self._shadows(), self._images(label)
        assert shadows is not None
        query, precision = self.machine._queries(x_t, t)
        upper = shadows.upper_log_weights(query, precision.item())[images]
        ask = partial(self._posterior, x_t, t)
        return CoarseToFine(ask, images, upper, shadows.low, shadows.high, self.tolerance, first)

    def _random_subset(self, x_t: Tensor, t: Tensor, label: int | None, first: int) -> RandomSubset:
        return RandomSubset(partial(self._posterior, x_t, t), self.shuffled(label), self.tolerance, first)

    def _images(self, label: int | None) -> Tensor:
        """The positions of the images that a sample with this label may match, in order."""
        return torch.arange(len(self.machine.pool), device=self.device) if label is None else self.machine._of_class[label]

    def _shadows(self) -> Shadows | None:
        """The shadows of the machine's pool, if they bound its weights and fit its memory budget."""
        machine = self.machine
        coordinates = next((bound for kind, bound in COORDINATES.items() if isinstance(machine, kind)), None)
        if coordinates is None or shadow_bytes(len(machine.pool)) > machine.memory_budget:
            return None
        if machine not in _SHADOWS or _SHADOWS[machine].images.device != self.device:
            _SHADOWS[machine] = Shadows.cast(machine._images, coordinates)
        return _SHADOWS[machine]

    def _costs(self, x_t: Tensor, t: Tensor, label: int | None) -> Mapping[Method, Cost]:
        """What each way costs one of these samples: as given, or as once measured for a batch like this."""
        ways = self._ways(label)
        if self.costs is not None or not ways:
            return self.costs or {}
        known = _COSTS.setdefault(self.machine, {})
        key = (*ways, len(x_t), x_t.dtype, self.device, torch.get_num_threads())
        if key not in known:
            images, footprint = self._images(label), self.machine._footprint()
            at_once = footprint.queries_at_once(len(x_t), len(images), self.machine.memory_budget, self.device)
            timed = partial(measured, least=FIRST, most=len(images), device=self.device)
            batch = timed(lambda n: self._posterior(x_t[:at_once], t[:at_once], images[:n]))
            alone = {method: timed(partial(way, x_t[:1], t[:1], label)) for method, way in ways.items()}
            known[key] = {"exact": Cost(batch.call / at_once, batch.image / at_once), **alone}
        return known[key]

    def describe(self) -> dict[str, Any]:
        """The machine, and how its answers are approximated, as JSON-able data. Equal ones agree within the tolerance."""
        how = {"tolerance": self.tolerance, "guaranteed": self.guaranteed, "seed": self.seed}
        return {**self.machine.describe(), "approximate": how}
