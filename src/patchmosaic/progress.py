"""How long work tells of itself: a callback that the caller may silence.

Library code never prints. Anything long takes `progress`, called as `progress(what, done, total)`; the command line draws
it with rich, a notebook may wrap tqdm, and `silent` is the default.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """`what` names the work, `done` of `total` units of it are finished. Raising from it stops the work."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


def silent(what: str, done: int, total: int) -> None:
    """The progress callback that shows nothing."""
