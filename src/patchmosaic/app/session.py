"""Session: answers the explorer's questions, through the public API only, one message after another.

    choices      what can be explored
    facts        what a subject is and what can be asked of it
    trajectory   x_t and x0_hat of each step, beside the network's where there is one
    provenance   for each pixel of each step: which training patches, with what weight
    images       training images
    results      the tables of a run

What was answered is kept for a while: going back to a seed, or on to another step, costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from patchmosaic.app import telling
from patchmosaic.app.ask import Ask
from patchmosaic.app.messages import Message, picture
from patchmosaic.app.recent import Recent
from patchmosaic.app.subjects import Subject, check_known, names, open_subject
from patchmosaic.denoisers import Denoiser, PatchDenoiser, PosteriorDenoiser
from patchmosaic.engine.memory import DEFAULT_BUDGET
from patchmosaic.errors import DataError, PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.plots.style import COLOURS
from patchmosaic.progress import Progress, silent
from patchmosaic.runs import build_machine, machine_kind
from patchmosaic.sampling import Step, ddim, seeds, uniform_times

PatchSize = int | LocalityScale | None


@dataclass(frozen=True)
class Drawn:
    """A step of a machine, and that of the network from the same noise, where there is one."""

    own: Step
    network: Step | None


class Session:
    """What one explorer has open.

    Args:
        asked: a run folder or data set, shown first; without it, the toy is.
        device: where denoisers compute.
        images: use the first so many training images of a subject where a question says nothing; None for what is quick.
        memory_budget: bytes that a machine may allocate.
    """

    def __init__(
        self,
        asked: str | None = None,
        *,
        device: str = "cpu",
        images: int | None = None,
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        self.names = names(asked)
        self.device = device
        self._images = images
        self._memory_budget = memory_budget
        self._subjects: Recent[tuple[str, int | None], Subject] = Recent(3)
        self._machines: Recent[tuple[str, int | None, str, PatchSize], Denoiser] = Recent(6)
        self._drawn: Recent[Ask, Sequence[Drawn]] = Recent(16)
        self._traced: Recent[tuple[Ask, int], Message] = Recent(400)

    def choices(self) -> Iterator[Message]:
        """The names of what can be explored."""
        yield {"choices": self.names}

    def facts(self, source: str, images: int | None = None, progress: Progress = silent) -> Iterator[Message]:
        """What a subject is, and what can be asked of it."""
        subject = self.subject(source, images, progress)
        yield telling.facts(subject, self._images or subject.usual)

    def trajectory(self, ask: Ask, progress: Progress = silent) -> Iterator[Message]:
        """First what the steps will be, with x_T; then each step as it is done.

        Raises:
            PatchMosaicError: what was asked for cannot be.
        """
        subject, machine = self._of(ask, progress)
        subject.check_class(ask.label)
        x_T = seeds([ask.seed], subject.pool.image_shape) * subject.schedule.prior_std()
        yield telling.began(subject, machine, uniform_times(ask.steps).tolist(), x_T)
        known = self._drawn.get(ask)
        kept: list[Drawn] = []
        for drawn in known or _draw(subject, machine, ask, x_T.to(self.device)):
            kept.append(drawn)
            progress(f"drawing with {ask.machine}", len(kept), ask.steps)
            yield telling.step(subject, len(kept) - 1, drawn.own, drawn.network)
        self._drawn.put(ask, kept)

    def provenance(self, ask: Ask, first: int | None = None, progress: Progress = silent) -> Iterator[Message]:
        """For each step of a trajectory, where each pixel of its x0_hat comes from; step `first` at first, then from the last.

        Raises:
            PatchMosaicError: a machine that does not average training images.
        """
        subject, machine = self._of(ask, progress)
        if not isinstance(machine, PosteriorDenoiser):
            raise PatchMosaicError("a linear filter averages no training images: no pixel comes from any", got=ask.machine)
        drawn = self._drawn.get(ask)
        if drawn is None:
            for _ in self.trajectory(ask, progress):
                pass
            drawn = self._drawn.made(ask, list)
        order = sorted(range(ask.steps), key=lambda number: (number != first, -number))
        for done, number in enumerate(order, 1):
            step = drawn[number].own
            message = self._traced.get((ask, number)) or telling.provenance(subject, machine, ask.label, number, step)
            yield self._traced.put((ask, number), message)
            progress("tracing pixels to their sources", done, ask.steps)

    def images(self, source: str, images: int | None, positions: Sequence[int]) -> Iterator[Message]:
        """Training images by their positions in the pool, with their classes.

        Raises:
            DataError: there is no such image.
        """
        pool = self.subject(source, images).pool
        for position in positions:
            if not 0 <= position < len(pool):
                raise DataError(f"the pool has images 0 to {len(pool) - 1}", got=position)
        yield {
            "images": [
                {
                    "position": position,
                    "label": None if pool.labels is None else int(pool.labels[position]),
                    "pixels": picture(pool.at(slice(position, position + 1))[0]),
                }
                for position in positions
            ]
        }

    def results(self, source: str) -> Iterator[Message]:
        """The comparisons of a run.

        Raises:
            DataError: it has none.
        """
        results = self.subject(source, None).results
        if not results:
            raise DataError("no comparison yet", got=source, hint=f"`patchmosaic compare {source}` makes one of a run.")
        yield {"results": {"colours": COLOURS, "comparisons": results}}

    def subject(self, source: str, images: int | None, progress: Progress = silent) -> Subject:
        """A subject, opened once.

        Raises:
            DataError: none that this explorer offers.
        """
        check_known(source, self.names)
        key = (source, images or self._images)
        return self._subjects.made(key, lambda: open_subject(*key, self.device, progress))

    def _of(self, ask: Ask, progress: Progress) -> tuple[Subject, Denoiser]:
        """The subject that a question is about, and the machine that it names, made once.

        Raises:
            PatchMosaicError: no such machine, or not as many patch sizes as steps.
        """
        subject = self.subject(ask.source, ask.images, progress)
        size = _patch_size(subject, ask)
        machine = self._machines.made(
            (ask.source, ask.images, ask.machine, size),
            lambda: build_machine(
                ask.machine, subject.pool, size, schedule=subject.schedule, memory_budget=self._memory_budget
            ).to(self.device),
        )
        return subject, machine


def _draw(subject: Subject, machine: Denoiser, ask: Ask, x_T: Tensor) -> Iterator[Drawn]:
    """Both reverse processes step by step, side by side."""
    own = ddim(machine, x_T, ask.steps, ask.label)
    if subject.network is None:
        return (Drawn(step, None) for step in own)
    label = ask.label if subject.network.classes else None
    return (Drawn(*steps) for steps in zip(own, ddim(subject.network, x_T, ask.steps, label), strict=True))


def _patch_size(subject: Subject, ask: Ask) -> PatchSize:
    if not issubclass(machine_kind(ask.machine), PatchDenoiser):
        return None
    if not ask.patch_sizes:
        return subject.patch_size_of(ask.machine, ask.steps)
    if len(ask.patch_sizes) == 1:
        return ask.patch_sizes[0]
    if len(ask.patch_sizes) != ask.steps:
        raise PatchMosaicError(
            "there must be one patch size for all steps, or one for each",
            got=f"{len(ask.patch_sizes)} for {ask.steps} steps",
        )
    return LocalityScale.from_steps(subject.schedule, ask.patch_sizes[::-1])
