"""How long work tells of itself: a callback that the caller may silence.

Library code never prints. Anything long takes `progress`, called as `progress(what, done, total)`; the command line draws
it with rich, a notebook may wrap tqdm, and `silent` is the default.

A single step over a large pool may itself be long. What happens inside it is told to whoever asked by `heard_inside`, so that
no function on the way down has to carry a callback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """`what` names the work, `done` of `total` units of it are finished. Raising from it stops the work."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


class Work(str):
    """The name of some work, with a remark on how it goes: `progress(Work("training", "loss 0.12"), done, total)`.

    To a callback that knows nothing of remarks it is the name.

    Attributes:
        remark: a few words, which may differ from call to call.
    """

    remark: str

    def __new__(cls, what: str, remark: str) -> Work:
        work = super().__new__(cls, what)
        work.remark = remark
        return work


def remark_of(what: str) -> str:
    """The remark on some work; empty where there is none."""
    return what.remark if isinstance(what, Work) else ""


def silent(what: str, done: int, total: int) -> None:
    """The progress callback that shows nothing."""


_inside: ContextVar[Progress] = ContextVar("inside", default=silent)


@contextmanager
def heard_inside(progress: Progress) -> Iterator[None]:
    """Within this context `progress` is also told of the work inside long steps."""
    token = _inside.set(progress)
    try:
        yield
    finally:
        _inside.reset(token)


def inside() -> Progress:
    """Whom to tell of the work inside a step."""
    return _inside.get()
